"""``catenary serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catenary.cli.predict import Engine

__all__ = ["serve"]


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", show_default=False, help="Runs, model files or pipelines; NAME=PATH gives one a name."
        ),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond this machine needs a token.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str,
        typer.Option(
            envvar="CATENARY_TOKEN",
            show_envvar=False,
            metavar="TEXT",
            show_default=False,
            help="What clients must know; better given as CATENARY_TOKEN, which no list of processes shows.",
        ),
    ] = "",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of jobs and results; the user's data folder by default.")
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="TIME", help="How long uploads and results stay, as in 30min, 24h, 7d.")
    ] = ("24h"),
    max_upload: Annotated[str, typer.Option(metavar="SIZE", help="Largest request.")] = "512MB",
    max_pixels: Annotated[
        str, typer.Option(metavar="N", help="Largest photo; volumes may have 4 times, maps 16 times as many.")
    ] = "64M",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Longest time that a job may run.")] = "15min",
    queue: Annotated[int, typer.Option(min=1, metavar="N", help="Most jobs that wait.")] = 100,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name of this server, for a proxy before it.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(metavar="|".join(Engine), help="What runs the networks; auto: the fastest that agrees.")
    ] = Engine.auto,
) -> None:
    """Serve models to a page in the browser and to programs.

    The page is at the address that is printed, the API at /docs. Only this machine is served unless --host says
    otherwise. Jobs survive a restart; nothing leaves the machine.

    Examples:
        catenary serve runs/skin
        catenary serve runs/skin eyes=screening --port 9000 --keep 1h
        catenary serve runs/skin --host 0.0.0.0 --token 'correct horse battery'
    """
    import catenary.serve as web
    from catenary.serve.settings import Settings, named_models, parse_amount, parse_seconds

    if data is None:
        from catenary.serve.server import data_folder

        data = Path(data_folder())
    settings = Settings(
        models=named_models(models),
        host=host,
        port=port,
        token=token,
        data=data,
        keep=parse_seconds(keep),
        max_upload=parse_amount(max_upload),
        max_pixels=parse_amount(max_pixels),
        timeout=parse_seconds(timeout),
        queue=queue,
        hosts=tuple(allow or ()),
        engine=engine.value,
    )

    def told(address: str) -> None:
        print(
            f"catenary serves {', '.join(name for name, _ in settings.models)} at {address} (stop with Ctrl-C)",
            flush=True,
        )

    web.run(settings, told=told)
