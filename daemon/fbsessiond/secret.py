"""Secrets: a configuration says where one is kept, and never holds one itself."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from fbsessiond import environment
from fbsessiond.errors import ConfigurationError
from fbsessiond.paths import HomePath


class Secret(BaseModel):
    """Where a secret is kept; it is never written into the configuration itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"minProperties": 1, "maxProperties": 1})

    credential: str | None = None
    """A credential of systemd's (`LoadCredential=`), by its name."""
    env: str | None = None
    """A variable of the environment."""
    file: HomePath | None = None
    """A file; a line break at its end doesn't count."""

    @model_validator(mode="before")
    @classmethod
    def _never_inline(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("should be { credential = … }, { env = … } or { file = … }: a secret is never inline")  # noqa: TRY004  pydantic takes a ValueError for the verdict
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> "Secret":
        if sum(value is not None for value in (self.credential, self.env, self.file)) != 1:
            raise ValueError("should name one place: { credential = … }, { env = … } or { file = … }")
        return self

    def read(self, key: str) -> SecretStr:
        """Fetch the secret. Raises `ConfigurationError` with the configuration's key where it isn't there."""
        text = self._variable(key, self.env) if self.env is not None else self._content(key)
        if not text:
            raise ConfigurationError(f"{key}: the secret is empty")
        return SecretStr(text)

    @staticmethod
    def _variable(key: str, name: str) -> str:
        if (value := environment.variables.get(name)) is None:
            raise ConfigurationError(f"{key}: the variable {name} isn't set")
        return value

    def _content(self, key: str) -> str:
        path = self._path(key)
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigurationError(f"{key}: can't read the secret: {error}") from error
        except UnicodeDecodeError:  # holds the secret
            raise ConfigurationError(f"{key}: can't read the secret: {path} isn't UTF-8") from None

    def _path(self, key: str) -> Path:
        if self.file is not None:
            return self.file
        folder = environment.credentials_directory()
        if folder is None or self.credential is None:
            raise ConfigurationError(
                f"{key}: there are no credentials here ($CREDENTIALS_DIRECTORY isn't set): "
                f"under systemd the unit needs LoadCredential={self.credential}:FILE"
            )
        return folder / self.credential
