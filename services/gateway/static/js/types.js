// @ts-check
/**
 * What the API speaks, as shared/contracts says it. Only types: nothing here runs.
 *
 * @typedef {"scheduled"|"pending"|"processing"|"completed"|"failed"|"cancelled"} Status
 * @typedef {"download"|"separation"|"finalization"} Phase
 * @typedef {"fetching"|"decoding"|"storing"|"fetching_weights"|"loading_model"|"separating"|"encoding"} Activity
 * @typedef {"flac"|"wav"|"mp3"|"opus"|"m4a"} Format
 *
 * @typedef {{url?: string|null, upload?: string|null}} Source
 * @typedef {{model: string, stems: string[], format: Format}} Options
 * @typedef {{title?: string|null, artist?: string|null, duration?: number|null,
 *   thumbnail?: string|null, page?: string|null, extractor?: string|null}} Metadata
 * @typedef {{model: string, stems: string[], chunks: number, chunks_done: number}} Separation
 * @typedef {{name: string, bytes: number, peak: number}} StemFile
 * @typedef {{at: string, status: Status, phase?: Phase|null, note?: string}} Moment
 * @typedef {{code: string, title: string, detail?: string, hint?: string,
 *   retryable?: boolean, retry_after?: number|null}} Problem
 *
 * @typedef {{id: string, status: Status, phase: Phase|null, progress: number,
 *   source: Source, options: Options, created_at: string, updated_at: string,
 *   run_at: string|null, started_at: string|null, finished_at: string|null,
 *   eta: string|null, metadata: Metadata|null, seconds: number|null,
 *   original: string|null, separation: Separation|null, stems: StemFile[],
 *   error: Problem|null, timeline: Moment[]}} Snapshot
 *
 * @typedef {{job_id: string, phase: Phase, progress: number, activity: Activity,
 *   note?: string, eta?: string|null}} Progress
 * @typedef {{name: string, sources: string[], stems?: string[], ready: boolean,
 *   origin?: string, description?: string}} Model
 * @typedef {{default: string, models: Model[]}} Models
 * @typedef {{jobs: Snapshot[], next: string|null, revision: number}} Page
 * @typedef {{points: number, seconds: number, stems: Record<string, number[]>}} Peaks
 */
export {};
