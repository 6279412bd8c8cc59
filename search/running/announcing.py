"""The first lines of a search: what it will take, and what is special about it."""

from __future__ import annotations

from exme.search import SPINS
from exme.search.opening import Costs, remarks
from exme.search.trials import counted, duration, spent

from .forecast import Forecast, Probe, unit_of_work
from .opened_search import OpenedSearch

THREADS_SPIN = (
    "torch was imported before exme.search, so its threads spin while they wait, which is slow beside other programs: import "
    "exme.search first, or set OMP_WAIT_POLICY=passive."
)


def announce(search: OpenedSearch) -> None:
    """Say what is ahead: memory, documents, time and engine, and what is special about the study."""
    settled, screen = search.settled, search.screen
    trials = search.history().trials
    forecast = _forecast(search)
    costs = _costs(search, forecast)
    name = getattr(search.worker, "engine_name", search.engine.name)
    why = f", as {search.engine.why}." if search.study.engine == "auto" else "."
    if spent(trials)[0]:
        screen.say(f"Resuming study {search.name}-{search.task} after {counted(trials)}.")
    screen.say(f"{forecast.line(costs)} Engine: {name}{why}")
    if short := _too_short(search, costs):
        screen.say(short, "yellow")
    if settled.halving is not None:
        screen.say(f"First stage: {settled.halving}.")
    if search.measure is not None:
        screen.say(search.measure.told)
    if SPINS:
        screen.say(THREADS_SPIN, "yellow")
    for said, style in remarks(settled.plan, search.sources, search.documents):
        screen.say(said, style)


def _forecast(search: OpenedSearch) -> Forecast:
    settled = search.settled
    return Forecast(
        search.study,
        search.weights,
        search.folder,
        settled.count,
        sum(len(documents.report) for documents in search.documents),
        settled.is_adaptive and settled.is_racing,
        sum(map(settled.objective.is_reference, settled.objective.inputs)),
        settled.halving,
        search.workers,
        sum(len(documents.report) for documents in search.also),
    )


def _costs(search: OpenedSearch, forecast: Forecast) -> Costs:
    """Of what is ahead, by a short probe."""
    trials, storage = search.history().trials, search.storage
    search.screen.note("Measuring how long a document takes")
    probe = Probe(*search.worker.document_time(), unit_of_work())
    return forecast.costs(trials, probe, storage.on_the_clock(trials), storage.record.timed())


def _too_short(search: OpenedSearch, costs: Costs) -> str:
    """That the budget's hours have no room for the proof; empty where they have."""
    hours = search.study.budget.hours
    if hours is None or costs.search is None or costs.search > 0:
        return ""
    return (
        f"budget.hours: {hours:g} h are over when the proof begins, which takes about {duration(costs.proving)}; the first "
        f"candidate is scored and proved all the same. More hours, or fewer report documents, leave time to search."
    )
