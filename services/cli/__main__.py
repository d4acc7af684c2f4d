"""The ``stembus`` command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from services.cli import commands
from services.cli.config import HTTP_PORT, NATS_PORT, StackConfig, default_data
from shared.contracts.audio import AudioFormat

app = typer.Typer(
    help="Songs in, stems out.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Data = Annotated[Path | None, typer.Option(help="The stack's data folder (default: STEMBUS_DATA).")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the web server; 0: any.")]
NatsPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of the broker; 0: any.")]
Server = Annotated[str | None, typer.Option(help="URL of a server; default: the local stack.")]
Gateways = Annotated[int, typer.Option(min=1, max=16, help="Gateway processes.")]
Downloaders = Annotated[int, typer.Option(min=1, max=16, help="Downloader processes.")]
Separators = Annotated[int, typer.Option(min=1, max=64, help="Separator processes.")]
Schedulers = Annotated[int, typer.Option(min=1, max=5, help="Schedulers: one acts, others wait.")]
Models = Annotated[
    Path | None, typer.Option(exists=True, file_okay=False, help="Folder with model packages.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


def _config(
    data: Path | None,
    port: int = HTTP_PORT,
    models: Path | None = None,
    nats_port: int = 0,
) -> StackConfig:
    return StackConfig(
        data=data.expanduser().resolve() if data else default_data(),
        port=port,
        nats_port=nats_port,
        models=models.resolve() if models else None,
    )


@app.command()
def up(
    data: Data = None,
    port: Port = HTTP_PORT,
    nats_port: NatsPort = NATS_PORT,
    gateways: Gateways = 1,
    schedulers: Schedulers = 1,
    downloaders: Downloaders = 1,
    separators: Separators = 1,
    models: Models = None,
) -> None:
    """Run the whole stack on this machine; Ctrl-C stops it."""
    terminal = commands.Terminal()
    config = replace(
        _config(data, port, models, nats_port),
        gateways=gateways,
        schedulers=schedulers,
        downloaders=downloaders,
        separators=separators,
    )
    raise typer.Exit(commands.run(terminal, partial(commands.up, terminal, config)))


@app.command()
def provision(
    nats_url: Annotated[
        str, typer.Option(envvar="STEMBUS_NATS_URL", help="The broker, as its administrator.")
    ] = "nats://127.0.0.1:4222",
) -> None:
    """Create on a broker what the services bind to; for deployments, safe to run again."""
    terminal = commands.Terminal()
    raise typer.Exit(commands.run(terminal, partial(commands.provision, terminal, nats_url)))


@app.command()
def separate(
    source: Annotated[str, typer.Argument(help="A file, or an http(s) URL.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the stems.")] = Path(
        "stems"
    ),
    model: Annotated[str, typer.Option(help="A model's name, or auto.")] = "auto",
    stems: Annotated[str, typer.Option(help="Stems, comma-separated; default: all.")] = "",
    audio_format: Annotated[AudioFormat, typer.Option("--format")] = AudioFormat.FLAC,
    server: Server = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with the job's record as one JSON line.")
    ] = False,
    data: Data = None,
    models: Models = None,
) -> None:
    """Separate one song; uses the running stack, or starts one for the while."""
    terminal = commands.Terminal()
    names = [name.strip() for name in stems.split(",") if name.strip()]
    config = _config(data, port=0, models=models)
    raise typer.Exit(
        commands.run(
            terminal,
            partial(
                commands.separate,
                terminal,
                config,
                server,
                source,
                out,
                (model, names, audio_format.value),
                as_json=as_json,
            ),
        )
    )


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    server: Server = None,
    data: Data = None,
) -> None:
    """List the newest jobs."""
    terminal = commands.Terminal()
    work = partial(commands.jobs, terminal, _config(data), server, limit)
    raise typer.Exit(commands.run(terminal, work))


@app.command()
def watch(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id.")] = None,
    server: Server = None,
    data: Data = None,
) -> None:
    """Follow one job until it has ended, or all jobs."""
    terminal = commands.Terminal()
    work = partial(commands.watch, terminal, _config(data), server, job)
    raise typer.Exit(commands.run(terminal, work))


@app.command()
def cancel(job: JobId, server: Server = None, data: Data = None) -> None:
    """Call a job off."""
    terminal = commands.Terminal()
    work = partial(commands.command, terminal, _config(data), server, job, "cancel")
    raise typer.Exit(commands.run(terminal, work))


@app.command()
def retry(job: JobId, server: Server = None, data: Data = None) -> None:
    """Take up a failed or cancelled job where it stood."""
    terminal = commands.Terminal()
    work = partial(commands.command, terminal, _config(data), server, job, "retry")
    raise typer.Exit(commands.run(terminal, work))


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
