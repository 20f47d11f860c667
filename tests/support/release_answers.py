"""What the admin API says of a release from nginx-v1 to nginx-v2, at its stages."""

from __future__ import annotations

from typing import Any


def instance(service: str, port: int, health: str = "healthy", **more: Any) -> dict[str, Any]:
    """An instance on loopback."""
    address = f"127.0.0.1:{port}"
    return {
        "id": f"{service}@{address}",
        "service": f"nginx/{service}",
        "address": address,
        "health": health,
        "state": "up",
        "in_flight": 0,
        "websockets": 0,
        "problem": None,
    } | more


def failure(what: str, *output: str) -> dict[str, Any]:
    """Something that went wrong with the new instance."""
    return {
        "instance": "nginx-v2@127.0.0.1:20002",
        "what": what,
        "time": "2026-01-31T12:00:01.000Z",
        "output": list(output),
    }


def service(name: str, colour: str | None, *instances: dict[str, Any]) -> dict[str, Any]:
    """A service's part in the release."""
    return {
        "name": name,
        "id": f"nginx/{name}",
        "colour": colour,
        "scale": 1,
        "ready": sum(i["health"] == "healthy" for i in instances),
        "instances": list(instances),
        "failures": [],
        "steps": [],
    }


def step(slot: int, stage: str, detail: str = "", instance: str | None = None) -> dict[str, Any]:
    """How far an instance is."""
    return {"slot": slot, "stage": stage, "detail": detail, "instance": instance}


def release(**members: Any) -> dict[str, Any]:
    """The release, two seconds old, its new instance not healthy yet."""
    found: dict[str, Any] = {
        "id": "nginx-2",
        "application": "nginx",
        "strategy": "blue-green",
        "phase": "releasing",
        "created": "2026-01-31T11:59:58.123Z",
        "deadline": "2026-01-31T12:04:58.123Z",
        "on_deadline": "rollback",
        "services": [
            service(
                "nginx-v2",
                "green",
                instance("nginx-v2", 20002, "unhealthy", problem="connection refused"),
            ),
            service("nginx-v1", "blue", instance("nginx-v1", 20001, in_flight=2)),
        ],
        "routes": [weights(0, 100)],
        "warnings": [],
        "waiting_for": "0 of 1 instances of nginx-v2 healthy",
        "timeline": [entry("2026-01-31T11:59:58.123Z", "releasing", "uid 1000")],
        "legal": ["shift", "rollback"],
        "is_first": False,
        "smooth": False,
    }
    return found | members


def weights(new: int, old: int) -> dict[str, Any]:
    """The route both are on."""
    share = new / (new + old) if new + old else 0.0
    return {
        "route": "nginx.localhost",
        "weights": {"nginx-v1": old, "nginx-v2": new},
        "held": False,
        "new_share": share,
    }


def entry(time: str, phase: str, by: str, reason: str = "") -> dict[str, Any]:
    """A line of the timeline."""
    return {"time": time, "phase": phase, "by": by, "reason": reason}


def green_starting() -> dict[str, Any]:
    """The new service is starting."""
    return release()


def pending(new: int = 0, old: int = 100) -> dict[str, Any]:
    """Both sides are healthy, the operator decides."""
    return release(
        phase="pending_confirmation",
        services=[
            service("nginx-v2", "green", instance("nginx-v2", 20002)),
            service("nginx-v1", "blue", instance("nginx-v1", 20001)),
        ],
        routes=[weights(new, old)],
        waiting_for=None,
        legal=["shift", "confirm", "rollback"],
    )


def over(phase: str, reason: str = "") -> dict[str, Any]:
    """A release on its way to an end, or at it."""
    legal = {"confirming": ["rollback"], "pending_confirmation": ["confirm", "rollback"]}
    return release(
        phase=phase,
        waiting_for=None,
        services=[service("nginx-v2", "green"), service("nginx-v1", "blue")],
        timeline=[
            entry("2026-01-31T11:59:58.123Z", "releasing", "uid 1000"),
            entry("2026-01-31T12:05:00.000Z", phase, "gateway", reason),
        ],
        legal=legal.get(phase, []),
    )


def written(release: dict[str, Any], *new_warnings: str) -> dict[str, Any]:
    """The answer to a change of a release, which brought these warnings."""
    return release | {
        "warnings": [*release["warnings"], *new_warnings],
        "new_warnings": list(new_warnings),
        "generation": 7,
        "applied": {"workers": 2, "of": 2, "late": []},
        "dry_run": False,
        "plan": None,
    }


def application(release: dict[str, Any] | None, name: str = "nginx") -> dict[str, Any]:
    """The application, with the release in flight if there is one."""
    claim: dict[str, Any] = {"route": "nginx.localhost", "host": "nginx.localhost"}
    claim |= {"path": "/", "port": 80, "weight": 100, "share": 1.0}
    found = release["services"] if release else [service("nginx-v1", None)]
    services = [s | {"routes": [claim], "leaving": False} for s in found]
    return {
        "name": name,
        "services": services,
        "release": release,
        "template": "nginx-v1: {image: nginx}",
        "has_previous": False,
        "leaving": False,
    }
