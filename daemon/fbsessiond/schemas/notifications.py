"""What GWS sends, described from the models that read it: a JSON Schema of a notification, and an AsyncAPI document.

They describe what is documented or was seen; `notification.read` is more tolerant still (of upper and lower case in
keys, say, or a type that isn't a text).
"""

from importlib.metadata import version
from typing import Any, TypeAlias

from pydantic.json_schema import models_json_schema

from fbsessiond.notification import (
    SESSION_ADDRESSES,
    SESSION_KEYS,
    MessagesNotification,
    Notification,
    OtherNotification,
    Participant,
    SessionDocument,
    SessionNotification,
)
from fbsessiond.schemas.generating import DIALECT, TextedSchema
from fbsessiond.settings import GwsSettings

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema."""

ASYNCAPI = "3.0.0"

SESSION_CHANNEL = "/v2/me/facebooksession"
"""Where the platform tells about sessions; the resource is spelled in the plural. [GWS 8.5.2, FacebookPMMessageType]"""

STATE_CHANGE = "FacebooksessionStateChangeMessage"
MESSAGE_LOG = "MessageLogUpdated"

NOTIFICATIONS: tuple[type[Notification], ...] = (SessionNotification, MessagesNotification, OtherNotification)

SUMMARIES: dict[type[Notification], str] = {
    SessionNotification: "A session's state, participants or properties changed, or an operation on it failed.",
    MessagesNotification: "New messages in a session.",
    OtherNotification: "Another medium's, such as a call's or a chat's; only journaled.",
}


def notification_schema() -> Schema:
    """Return the schema of a notification: the `data` of a CometD message."""
    definitions = _definitions("#/$defs/{model}")
    session, messages, other = ({"$ref": f"#/$defs/{model.__name__}"} for model in NOTIFICATIONS)
    return {
        "$schema": DIALECT,
        "title": "notification",
        "description": "A notification of GWS: the `data` of a CometD message.",
        "type": "object",
        "if": {"anyOf": [_has_type(STATE_CHANGE), *({"required": [key]} for key in SESSION_KEYS)]},
        "then": session,
        "else": {
            "if": {"allOf": [_has_type(MESSAGE_LOG), _of_a_session()]},
            "then": messages,
            "else": other,
        },
        "$defs": definitions,
    }


def asyncapi() -> Schema:
    """Return an AsyncAPI document of the notifications."""
    channels = {
        "facebooksession": {
            "address": SESSION_CHANNEL,
            "title": "Facebook private-messaging sessions of the agent",
            "messages": _refer("components/messages", SessionNotification, MessagesNotification),
        },
        "others": {
            "address": "/v2/me/{resource}",
            "title": "Everything else of the agent",
            "parameters": {"resource": {"description": "Another medium or resource.", "examples": ["calls", "chats"]}},
            "messages": _refer("components/messages", OtherNotification),
        },
    }
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Notifications of Genesys Web Services about Facebook private-messaging sessions",
            "version": version("fbsessiond"),
            "description": "As fbsessiond understands them; made from the models that read them.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "gws": {
                "host": "{host}",
                "pathname": GwsSettings.model_fields["notifications"].default,
                "protocol": "http",
                "description": "CometD (Bayeux 1.0) over long-polling. A subscription to `/v2/me/*` receives it all.",
                "variables": {"host": {"default": "gws.example:8090", "description": "Where GWS is."}},
            }
        },
        "channels": channels,
        "operations": {
            f"receive{name.capitalize()}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in channel["messages"]],
            }
            for name, channel in channels.items()
        },
        "components": {
            "messages": {
                model.__name__: {
                    "name": model.__name__,
                    "summary": SUMMARIES[model],
                    "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
                }
                for model in NOTIFICATIONS
            },
            "schemas": _definitions("#/components/schemas/{model}"),
        },
    }


def _definitions(reference: str) -> dict[str, Schema]:
    """Return the models' schemas by their names, with what the wire has otherwise than the models."""
    _, top = models_json_schema(
        [(model, "validation") for model in NOTIFICATIONS], schema_generator=TextedSchema, ref_template=reference
    )
    definitions: dict[str, Schema] = top["$defs"]
    _as_on_the_wire(definitions)
    return definitions


def _as_on_the_wire(definitions: dict[str, Schema]) -> None:
    notification = definitions[SessionNotification.__name__]
    session = notification["properties"].pop("facebooksession")
    one = session["anyOf"][0]
    for key in SESSION_KEYS:
        notification["properties"][key] = {**session, "anyOf": [*session["anyOf"], {"type": "array", "items": one}]}
    notification["required"] = []
    notification["if"] = {
        "not": {"properties": {"notificationType": {"const": "Error"}}, "required": ["notificationType"]}
    }
    notification["then"] = {
        "anyOf": [{"required": [key], "properties": {key: {"type": ["object", "array"]}}} for key in SESSION_KEYS]
    }
    _name_one_of(definitions[SessionDocument.__name__], "id", "path", "uri")
    _name_one_of(definitions[Participant.__name__], "participantId", "id")
    messages = definitions[MessagesNotification.__name__]
    messages["properties"] |= {key: {"type": "string"} for key in SESSION_ADDRESSES}
    messages |= _of_a_session()


def _name_one_of(definition: Schema, key: str, *others: str) -> None:
    """Say that a key can be given by others."""
    definition["required"].remove(key)
    definition["properties"] |= {other: {"type": "string"} for other in others}
    definition["anyOf"] = [{"required": [name]} for name in (key, *others)]


def _has_type(name: str) -> Schema:
    return {"properties": {"messageType": {"const": name}}, "required": ["messageType"]}


def _of_a_session() -> Schema:
    """Return what tells the address of a Facebook session from another medium's."""
    ours = {"type": "string", "pattern": "/facebooksessions?/"}
    return {
        "anyOf": [
            {"required": [key]} if key.startswith("facebooksession") else {"required": [key], "properties": {key: ours}}
            for key in SESSION_ADDRESSES
        ]
    }


def _refer(place: str, *models: type) -> Schema:
    return {model.__name__: {"$ref": f"#/{place}/{model.__name__}"} for model in models}
