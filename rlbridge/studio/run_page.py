"""stub"""

from fastapi import Request
from nicegui import ui
from rlbridge.studio.shell import frame
from rlbridge.studio.workshop import Workshop


def add_to(workshop: Workshop) -> None:
    @ui.page("/run/{name}")
    async def page(request: Request, name: str) -> None:
        with frame(request, "Run"):
            ui.label("soon")
