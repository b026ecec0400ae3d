"""An app with every kind of trigger. What it was called with it appends, a JSON line each, to the file DIARY."""

import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


def note(**what: Any) -> None:
    with Path(os.environ["DIARY"]).open("a") as diary:
        diary.write(json.dumps(what) + "\n")


def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {"method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params)}
    seen |= {"body": req.get_body().decode(), "header": req.headers.get("x-probe")}
    seen["platform"] = {name: value for name, value in req.headers.items() if name.startswith("x-ms-")}
    seen["settings"] = {name: os.environ[name] for name in os.environ if name.startswith("WEBSITE_AUTH_")}
    return func.HttpResponse(
        json.dumps(seen), status_code=201, headers={"X-Answer": "yes"}, mimetype="application/json"
    )


@app.route(route="things/{id:int}", methods=["GET", "POST"])
def thing(req: func.HttpRequest) -> func.HttpResponse:
    return echo(req)


@app.route(route="names/{name:alpha:length(2,4)}/{rest?}", auth_level=func.AuthLevel.ANONYMOUS)
def name(req: func.HttpRequest) -> func.HttpResponse:
    return echo(req)


@app.route(route="files/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def files(req: func.HttpRequest) -> func.HttpResponse:
    return echo(req)


@app.route(route="secret", auth_level=func.AuthLevel.ADMIN)
def secret(req: func.HttpRequest) -> func.HttpResponse:
    return echo(req)


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def clock(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(datetime.now(UTC).isoformat())


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("a secret text")


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def slow(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(6)
    return func.HttpResponse("late")


present: set[str] = set()
all_met = threading.Event()


def meet(who: str) -> None:
    """Wait for four to be here at once. The queue brings whoever waited in vain again."""
    present.add(who)
    if len(present) == 4:
        all_met.set()
    if not all_met.wait(2):
        present.discard(who)
        raise ValueError("the others did not come")
    note(met=who)


@app.queue_trigger(arg_name="msg", queue_name="%QUEUE%", connection="AzureWebJobsStorage")
def from_queue(msg: func.QueueMessage) -> None:
    text = msg.get_body().decode()
    note(queue=text, count=msg.dequeue_count, id=msg.id, at=time.time())
    while text.startswith("slow") and not Path(os.environ["DIARY"]).with_suffix(".go").exists():
        time.sleep(0.02)
    if text.startswith("meet"):
        meet(text)
    if text.startswith("bad"):
        raise ValueError(text)


@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
def tick(timer: func.TimerRequest) -> None:
    note(timer=timer.past_due, by=os.getpid())


@app.event_grid_trigger(arg_name="event")
def on_event(event: func.EventGridEvent) -> None:
    note(event=event.get_json(), kind=type(event).__name__)
    if event.get_json().get("bad"):
        raise ValueError("bad event")
