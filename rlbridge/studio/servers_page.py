"""stub"""

from fastapi import Request
from nicegui import ui

from rlbridge.studio.shell import frame
from rlbridge.studio.workshop import Workshop


def add_to(workshop: Workshop) -> None:
    @ui.page("/servers")
    async def page(request: Request) -> None:
        with frame(request, "Servers"):
            ui.label("soon")
