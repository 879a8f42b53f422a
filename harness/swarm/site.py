"""Locust's web pages as a run's: who may come in, what may be started, what is shown beside."""

import argparse
import hmac
import json
import logging
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from flask import (
    Response,
    jsonify,
    redirect,
    render_template_string,
    request,
    send_file,
    session,
    url_for,
)
from flask_login import current_user, login_user
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.web import WebUI

from harness.rig.ports import LOOPBACK, LOOPBACK_NAMES
from harness.swarm import form
from harness.swarm.board import TABLES
from harness.swarm.engine import ENGINE

log = logging.getLogger("orderbench")

USER, PASSWORD = "ORDERBENCH_WEB_USER", "ORDERBENCH_WEB_PASSWORD"
OPEN = ("locust.login", "locust.send_assets", "sign_in")
"""What is shown to who has not signed in."""
WRONG_S = 1.0
"""How long an answer to a wrong password takes."""
KEPT = "the totals are those of what is on disk, and are not reset; a new start begins at nought"
NO_RESET = "<style>.MuiButton-colorWarning { display: none !important }</style>"
"""The button by its colour, which no other one has."""
LIVE = Path(__file__).with_name("live.html")
REPORTS = Path(__file__).with_name("reports.html")
"""Of runs that went together: a link to each."""


class Offered(list[str]):
    """Choices for a drop-down. The command line may have several with commas, and what is none of
    them is refused later, with all else that is wrong."""

    def __contains__(self, _: object) -> bool:
        return True


def _options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument(
        "--driver", action="append", default=[], include_in_web_ui=False, metavar="FILE.py:CLASS"
    )
    parser.add_argument(
        "--target", action="append", default=[], include_in_web_ui=False, metavar="STYLE=ADDRESS"
    )
    parser.add_argument(
        "--more", action="append", default=[], include_in_web_ui=False, help="a word for every run"
    )
    parser.add_argument("--shape", default="", include_in_web_ui=False, metavar="FILE.py:CLASS")
    parser.add_argument("--out", default="", include_in_web_ui=False, metavar="DIR")
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--driver", action="append", default=[])
    early.add_argument("--items", default="")
    early.add_argument("--shape", default="")
    for mode in ("master", "worker"):
        early.add_argument(
            f"--{mode}", action="store_true", default=f"LOCUST_MODE_{mode.upper()}" in os.environ
        )
    said = early.parse_known_args()[0]
    if said.master or said.worker:
        mode = "master" if said.master else "worker"
        print(
            f"--{mode}: Locust's own port takes what anyone sends, and its statistics are no"
            f" samples; say python3 bench.py locust --{mode} (see README)",
            file=sys.stderr,
        )
        sys.exit(2)
    for field in form.fields(form.Offer(said.driver, said.items, said.shape)):
        option = f"--{field.name.replace('_', '-')}"
        kwargs: dict[str, Any] = {"help": field.says, "default": field.default, "metavar": "X"}
        if field.choices:
            kwargs["choices"] = Offered(field.choices)
        if field.several:
            kwargs |= {"is_multiple": True, "default": [field.default], "type": _several}
        parser.add_argument(option, **kwargs)
    # Open to all by itself.
    parser.set_defaults(web_host=LOOPBACK, web_login=credentials() is not None)


def _several(text: str) -> list[str]:
    return text.split(",")


def credentials() -> tuple[str, str] | None:
    """Who may come in, where that is asked; never by a command line, which all can read."""
    user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    return (user, password) if user and password else None


def _open(environment: Environment, web_ui: WebUI | None, **_: Any) -> None:
    ENGINE.environment = environment
    options = environment.parsed_options
    assert options is not None
    ENGINE.offer = form.Offer(
        options.driver,
        options.items,
        options.shape,
        options.target,
        Path(options.out) if options.out else None,
        options.more,
    )
    problems = ENGINE.check(ENGINE.options()) if web_ui is None else []
    if options.reset_stats:
        problems.append(f"--reset-stats: {KEPT}")
    if options.shape and options.load != ENGINE.offer.load:
        problems.append(f"--shape: it is the load, and --load says another: {options.load}")
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        sys.exit(2)
    if web_ui is None:
        return
    if web_ui.host not in LOOPBACK_NAMES and credentials() is None:
        log.error("--web-host %s: set %s and %s first", web_ui.host or "*", USER, PASSWORD)
        sys.exit(2)
    _guard(web_ui)
    _show(web_ui)


def _guard(web_ui: WebUI) -> None:
    app = web_ui.app
    assert app is not None
    # Pages of other sites may neither send here nor read what is here.
    app.after_request_funcs.clear()

    @app.before_request
    def same_site() -> Response | None:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return Response("this page may not ask that", 403)
        if (
            web_ui.host in LOOPBACK_NAMES
            and urlsplit(f"//{request.host}").hostname not in LOOPBACK_NAMES
        ):
            return Response("only by the names of loopback", 403)
        return None

    if (known := credentials()) is not None:
        _sign_in(web_ui, *known)

    @app.before_request
    def start() -> Response | None:
        """Locust does not ask whether choices are among those that it offers."""
        if request.path == "/stop" and request.method == "POST":
            ENGINE.ask_to_stop()
        if request.path == "/stats/reset":
            log.warning(KEPT)
            return Response(f"{KEPT}\n", 403)
        if request.path != "/swarm" or request.method != "POST":
            return None
        problems = ENGINE.check(dict(request.form.lists()))
        return jsonify({"success": False, "message": "; ".join(problems)}) if problems else None


@dataclass(frozen=True, slots=True)
class _Known:
    """Who has signed in, as flask_login takes it."""

    name: str
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        return self.name


def _sign_in(web_ui: WebUI, user: str, password: str) -> None:
    app = web_ui.app
    assert app is not None
    app.secret_key = secrets.token_bytes(32)
    app.config.update(SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_HTTPONLY=True)
    web_ui.auth_args = {"username_password_callback": "./sign-in"}

    known = _Known(user)
    web_ui.login_manager.user_loader(lambda name: known if name == user else None)

    @app.before_request
    def only_known() -> Any:
        if request.endpoint in OPEN or current_user.is_authenticated:
            return None
        return redirect(url_for("locust.login"))

    @app.post("/sign-in", endpoint="sign_in")
    def sign_in() -> Any:
        given = (request.form.get("username", ""), request.form.get("password", ""))
        pairs = zip(given, (user, password), strict=True)
        if sum(hmac.compare_digest(a.encode(), b.encode()) for a, b in pairs) == len(given):
            login_user(known)
            return redirect(url_for("locust.index"))
        gevent.sleep(WRONG_S)
        session["auth_error"] = "wrong user name or password"
        return redirect(url_for("locust.login"))


def _show(web_ui: WebUI) -> None:
    app = web_ui.app
    assert app is not None
    # The form's fields have an order, and the charts.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}
    web_ui.template_args |= {
        "extended_tabs": [{"key": key, "title": title} for key, (title, _) in TABLES.items()],
        "extended_tables": [
            {"key": key, "structure": [{"key": k, "title": t} for k, t in columns.items()]}
            for key, (_, columns) in TABLES.items()
        ],
        "extended_csv_files": [
            {"href": "./report", "title": "Open orderbench's report"},
            {"href": "./report?download", "title": "Download orderbench's report"},
            {"href": "./live", "title": "Live charts"},
        ],
    }

    @app.after_request
    def with_ours(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            rows = [{"key": key, "data": data} for key, data in ENGINE.board.rows.items()]
            response.set_data(json.dumps({**response.get_json(), "extended_stats": rows}))
        if request.path == "/" and response.mimetype == "text/html":
            response.set_data(
                response.get_data(as_text=True).replace("</head>", f"{NO_RESET}</head>")
            )
        return response

    @app.get("/report")
    def report() -> Response:
        sessions = ENGINE.sessions
        run = request.args.get("run", "" if len(sessions) != 1 else next(iter(sessions)))
        if len(sessions) > 1 and run not in sessions:
            return Response(render_template_string(REPORTS.read_text(), sessions=sessions))
        page = sessions[run].report if run in sessions else None
        if page is None:
            return Response("no report yet: it is written when the run has ended\n", 404)
        name = f"{Path(page).parent.name}.html"
        return send_file(page, as_attachment="download" in request.args, download_name=name)

    @app.get("/live")
    def live() -> Response:
        return send_file(LIVE)

    @app.get("/live.json")
    def live_json() -> Response:
        board = ENGINE.board
        return jsonify(
            {
                "now": board.now,
                "problems": board.problems,
                "running": ENGINE.running,
                "lines": {name: list(points) for name, points in board.lines.items()},
            }
        )


events.init_command_line_parser.add_listener(_options)
events.init.add_listener(_open)
