"""fbsessiond.simulator.customers: invented customers."""

import json
from pathlib import Path

from fbsessiond.chance import SeededChance
from fbsessiond.simulator.customers import FIRST_NAMES, LAST_NAMES, QUESTIONS, invent, user_data
from fbsessiond.testing import EPOCH
from simulator_parts import ADA

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_customers_are_invented_from_the_lists() -> None:
    """A customer's names and question stand in the lists, and the same seed invents the same ones."""
    customers = [invent(SeededChance(seed)) for seed in range(50)]
    assert {customer.first_name for customer in customers} <= set(FIRST_NAMES)
    assert {customer.last_name for customer in customers} <= set(LAST_NAMES)
    assert {customer.question for customer in customers} <= set(QUESTIONS)
    assert customers == [invent(SeededChance(seed)) for seed in range(50)]


def test_user_data_is_like_the_documented_sample() -> None:
    """Each key is one of the sample's, with a value of the same type; what agents add isn't there yet."""
    sample = json.loads((FIXTURES / "documented/leave-leftchat.json").read_text())["data"]["facebooksession"][
        "userData"
    ]
    data = user_data(ADA, 7, EPOCH)
    assert data.keys() <= sample.keys()
    assert {key: type(value) for key, value in data.items()} == {key: type(sample[key]) for key in data}
    missing = {key for key in sample.keys() - data.keys() if not key.startswith(("LCA_", "LastCalled", "RTarget"))}
    assert missing == {"DISP_KEY"}


def test_user_data_tells_customers_apart() -> None:
    """Name and text are the customer's, and ids differ by number."""
    data, other = user_data(ADA, 7, EPOCH), user_data(ADA, 8, EPOCH)
    assert (data["FirstName"], data["_facebookActorName"]) == ("Ada", "AdaQuill")
    assert data["_facebookMessageText"] == "Where is my parcel?"
    assert data["_facebookCreatedTime"] == "1767225600000"
    for key in ("ContactId", "_facebookActorId", "_facebookPMThreadId", "_facebookPMMessageId"):
        assert data[key] != other[key]
