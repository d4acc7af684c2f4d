// @ts-check
/**
 * What the API speaks, as shared/contracts says it. Only types: nothing here runs.
 *
 * @typedef {"scheduled"|"pending"|"processing"|"completed"|"failed"|"cancelled"} Status
 * @typedef {"download"|"separation"|"finalization"} Phase
 * @typedef {"fetching"|"decoding"|"storing"|"fetching_weights"|"loading_model"|"separating"|"encoding"} Activity
 * @typedef {"flac"|"wav"|"wav16"|"wav32f"|"mp3"|"opus"|"m4a"} Format
 * @typedef {"high"|"normal"|"low"} Priority
 *
 * @typedef {{url?: string|null, upload?: string|null}} Source
 * @typedef {{model: string, stems: string[], format: Format}} Options
 * @typedef {{priority?: Priority, owner?: string, run_at?: string}} Terms
 * @typedef {{title?: string|null, artist?: string|null, duration?: number|null,
 *   thumbnail?: string|null, cover?: {id: string}|null, page?: string|null, extractor?: string|null}} Metadata
 * @typedef {{model: string, stems: string[], chunks: number, chunks_done: number,
 *   pieces_ready: number, piece_seconds: number, precision: "exact"|"fast", shifts: number}} Separation
 * @typedef {{name: string, bytes: number, peak: number, loudness: number|null}} StemFile
 * @typedef {"dsp.mono"|"dsp.narrow"|"dsp.faint"} Remark
 * @typedef {{at: string, status: Status, phase?: Phase|null, note?: string}} Moment
 * @typedef {{code: string, title: string, detail?: string, hint?: string,
 *   retryable?: boolean, retry_after?: number|null}} Problem
 *
 * @typedef {{position: number|null, starts_at: string|null, eta: string|null,
 *   waits_for: Problem|null}} Place where a waiting job stands in the queue
 * @typedef {{id: string} & Place} QueueNews
 * @typedef {Place & {id: string, status: Status, phase: Phase|null, progress: number,
 *   source: Source, options: Options, owner: string, priority: Priority, batch: string|null,
 *   created_at: string, updated_at: string, run_at: string|null, deadline: string|null,
 *   queued_at: string|null, held: boolean, follows: string|null, started_at: string|null, finished_at: string|null,
 *   metadata: Metadata|null, seconds: number|null,
 *   original: string|null, separation: Separation|null, stems: StemFile[],
 *   loudness: number|null, gain: number, remarks: Remark[],
 *   error: Problem|null, timeline: Moment[]}} Snapshot
 *
 * @typedef {{entry: string, problem: Problem}} Skipped
 * @typedef {"expanding"|"processing"|"completed"|"failed"|"cancelled"} BatchState
 * @typedef {{id: string, state: BatchState, progress: number, counts: Partial<Record<Status, number>>,
 *   options: Options, owner: string, created_at: string, updated_at: string,
 *   playlist: string|null, title: string|null, jobs: string[], skipped: Skipped[],
 *   error: Problem|null}} Batch
 *
 * @typedef {{job_id: string, phase: Phase, progress: number, activity: Activity,
 *   note?: string, eta?: string|null}} Progress
 * @typedef {{name: string, sources: string[], stems?: string[], ready: boolean,
 *   origin?: string, description?: string}} Model
 * @typedef {{default: string, models: Model[]}} Models
 * @typedef {{jobs: Snapshot[], next: string|null, revision: number}} Page
 * @typedef {{points: number, seconds: number, stems: Record<string, number[]>}} Peaks
 *
 * @typedef {{p50: number|null, p90: number|null, p99: number|null, n: number}} Percentiles
 * @typedef {{submitted: number, completed: number, failed: number, cancelled: number}} Tally
 * @typedef {{worker: string, stage: string, slots: number, busy: number, device: string,
 *   speeds: Record<string, number>, ailment: string|null, seen_seconds_ago: number}} Worker
 * @typedef {{site: string, until: string, code: string}} Pause
 * @typedef {{jobs: Record<Status|"held", number>,
 *   queue: {waiting: number, held: number, rate_per_minute: number|null, stalled: string|null,
 *     oldest_wait_seconds: number|null},
 *   last_hour: Tally, last_day: Tally, failures: Record<string, number>,
 *   wait_seconds: Percentiles, run_seconds: Percentiles,
 *   workers: Worker[], pauses: Pause[], revision: number}} Stats
 */
export {};
