"""The runbook, next to the status that leads to it."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.console.runbook import render_runbook
from services.console.web.dependencies import ConsoleDependencies, Viewer

router = APIRouter()


@router.get("/runbook")
async def runbook_page(request: Request, dependencies: ConsoleDependencies, user: Viewer) -> Response:
    """Show what each alert means, and what to run."""
    text, _ = render_runbook()
    return dependencies.templates.render_page(request, "runbook.html", text=text)
