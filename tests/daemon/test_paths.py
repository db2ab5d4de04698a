from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from fbsessiond.paths import HomePath

PATH: TypeAdapter[Path] = TypeAdapter(HomePath)


@pytest.mark.parametrize(
    ("given", "path"), [("~/ca.pem", "/home/operator/ca.pem"), ("ca.pem", "ca.pem"), ("/etc/~/ca.pem", "/etc/~/ca.pem")]
)
def test_home_path(monkeypatch: pytest.MonkeyPatch, given: str, path: str) -> None:
    """A path may begin with the home directory; any other stays as it is."""
    monkeypatch.setenv("HOME", "/home/operator")
    assert PATH.validate_python(given) == Path(path)


def test_home_of_nobody() -> None:
    """A home directory that there isn't is a mistake in the configuration."""
    with pytest.raises(ValidationError, match="should be a path: there is no such home directory"):
        PATH.validate_python("~nobody-of-that-name/ca.pem")
