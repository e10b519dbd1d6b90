"""Pages that problems lead to: the runbook, and the reasons of refusals."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.console.runbook import render_runbook
from services.console.web.dependencies import AnyUser, ConsoleDependencies, Viewer

router = APIRouter()


@router.get("/runbook")
async def runbook_page(request: Request, dependencies: ConsoleDependencies, user: Viewer) -> Response:
    """Show what each alert means, and what to run."""
    text, _ = render_runbook()
    return dependencies.templates.render_page(request, "runbook.html", text=text)


@router.get("/reasons")
async def reasons_page(request: Request, dependencies: ConsoleDependencies, user: AnyUser) -> Response:
    """Show what each reason of a refusal means, and what to do."""
    return dependencies.templates.render_page(request, "reasons.html")
