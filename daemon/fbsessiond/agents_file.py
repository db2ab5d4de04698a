"""The file in which further agents stand, so that whoever keeps the list of them needn't touch anything else."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fbsessiond import limits
from fbsessiond.configuration_errors import Places, describe
from fbsessiond.errors import ConfigurationError
from fbsessiond.settings import AgentSettings, Settings
from fbsessiond.toml_file import parsed, read_text


class AgentsFile(BaseModel):
    """What may stand in that file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: Annotated[list[AgentSettings], Field(max_length=limits.AGENTS)] = []


def with_all_agents(settings: Settings, configuration: Path | None) -> Settings:
    """Return the settings with the agents of the file that they name, if they do.

    Raises `ConfigurationError` where that file is wrong, an agent is there twice, or there is no platform for them.
    """
    if settings.agents_file is not None:
        path = (configuration.parent if configuration else Path()) / settings.agents_file
        settings = settings.model_copy(update={"agents": [*settings.agents, *_read(path)]})
    if settings.agents and settings.gws is None:
        raise ConfigurationError("gws: is missing; the agents need to know the platform's url")
    names = Counter(each.agent_name for each in settings.watched)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise ConfigurationError(
            f"agents: there more than once: {', '.join(map(repr, twice))}; `agent` gives each a name of its own"
        )
    if len(names) > limits.AGENTS:
        raise ConfigurationError(f"agents: {len(names)}, and one daemon watches {limits.AGENTS} at most")
    if len(groups := {each.group for each in settings.watched}) > limits.GROUPS:
        raise ConfigurationError(f"agents: of {len(groups)} groups, and there can be {limits.GROUPS} at most")
    return settings


def _read(path: Path) -> list[AgentSettings]:
    text = read_text(path)
    document = parsed(text, path)
    try:
        return AgentsFile.model_validate(document).agents
    except ValidationError as error:
        raise ConfigurationError("\n".join(describe(error, AgentsFile, document, Places(path, text)))) from None
