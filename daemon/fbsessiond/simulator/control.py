"""What the simulator answers about itself, under /simulator/: its state and its faults. Nothing of this is in GWS."""

from dataclasses import asdict
from typing import Any, TypeAlias

from pydantic import ValidationError

from fbsessiond.configuration_errors import Places, describe
from fbsessiond.simulator.bayeux import BayeuxServer
from fbsessiond.simulator.bayeux_client import Client
from fbsessiond.simulator.exchange import Request, Response, answered, decoded
from fbsessiond.simulator.faults import Faults, FaultTable
from fbsessiond.simulator.platform import Platform

CONTROL = "/simulator/"

Json: TypeAlias = dict[str, Any]


class Control:
    """Shows what goes on, and switches faults. Nobody needs to sign in."""

    def __init__(self, platform: Platform, bayeux: BayeuxServer, faults: Faults) -> None:
        self._platform = platform
        self._bayeux = bayeux
        self._faults = faults

    def answer(self, request: Request) -> Response:
        """Show the state, or switch faults."""
        match request.method, request.path:
            case "GET", "/simulator/state":
                return answered(200, self.state())
            case "POST", "/simulator/faults":
                return self._switch_faults(decoded(request.body))
            case _:
                return answered(404, {"problems": ["GET /simulator/state or POST /simulator/faults"]})

    def state(self) -> Json:
        """Return what goes on: sessions, effects, faults, clients, and what those acknowledged."""
        return {
            "sessions": {agent: self._sessions_of(agent) for agent in self._platform.agents},
            "effects": [{**asdict(applied), "times": times} for applied, times in self._platform.effects.items()],
            "faults": self._faults.state(),
            "published": self._bayeux.published,
            "clients": [_shown(client) for client in self._bayeux.clients.values()],
            "acknowledged": [
                {"number": sent.number, "agent": sent.agent, "client": sent.client, **sent.message}
                for sent in self._bayeux.acknowledged
            ],
        }

    def _switch_faults(self, document: object) -> Response:
        try:
            self._faults.switch(FaultTable.model_validate(document))
        except ValidationError as error:
            return answered(400, {"problems": list(describe(error, FaultTable, document, Places()))})
        return answered(200, self._faults.state())

    def _sessions_of(self, agent: str) -> dict[str, str]:
        return {document["id"]: document["state"] for document in self._platform.sessions(agent)}


def _shown(client: Client) -> Json:
    channels = sorted(client.subscriptions)
    return {"agent": client.agent, "client": client.id, "queued": client.queued, "channels": channels}
