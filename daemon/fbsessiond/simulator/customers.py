"""Invented customers: their names, what they write, and the user data that comes with a session of theirs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fbsessiond.chance import Chance, choose

FIRST_NAMES = ("Ada", "Bruno", "Clio", "Dario", "Edda", "Faro", "Gesa", "Hugo", "Ilka", "Jory", "Kaya", "Lino")
LAST_NAMES = ("Quill", "Fernhill", "Marlow", "Tindale", "Oakes", "Brisk", "Wren", "Halden", "Sorrel", "Pinder")
QUESTIONS = (
    "Where is my parcel?",
    "I was charged twice for the same order.",
    "How do I change my address?",
    "The lamp arrived without its shade.",
    "Can I return a gift without the receipt?",
    "Your shop says my code is used up.",
)
REMARKS = (
    "It was on Tuesday.",
    "Yes, I still have the box.",
    "The number ends with 17.",
    "Thanks, I'll wait.",
    "Oh, I see.",
)
ANSWERS = (
    "How may I help you?",
    "Let me look that up.",
    "I've found it.",
    "It's on its way.",
    "Is there anything else?",
)


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who wrote to the page."""

    first_name: str
    last_name: str
    question: str

    @property
    def nickname(self) -> str:
        """The name as the platform shows it, without a blank [GWS 8.5.2, Leave]."""
        return f"{self.first_name}{self.last_name}"


def invent(chance: Chance) -> Customer:
    """Return a customer who doesn't exist."""
    return Customer(choose(chance, FIRST_NAMES), choose(chance, LAST_NAMES), choose(chance, QUESTIONS))


def user_data(customer: Customer, number: int, at: datetime) -> dict[str, Any]:
    """Return a new session's user data, with the keys and the mix of types of the sample [GWS 8.5.2, Leave].

    `number` tells one customer from another. A disposition isn't among it: the agent sets that.
    """
    milliseconds = int(at.timestamp() * 1000)
    return {
        **_EMPTY,
        **_FIXED,
        "FirstName": customer.first_name,
        "LastName": customer.last_name,
        "FromAddress": customer.nickname,
        "Subject": customer.question,
        "ContactId": f"0002Sa{number:010d}",
        "_facebookActorId": f"{1_000_000_000_000_000 + number}",
        "_facebookActorName": customer.nickname,
        "_facebookMessageText": customer.question,
        "_facebookCreatedTime": str(milliseconds),
        "_facebookPMActionId": f"{milliseconds}000000",
        "_facebookPMMessageId": f"m_mid.{milliseconds}:{number:018x}",
        "_facebookPMThreadId": f"t_mid.{milliseconds}:{number:018x}",
    }


_EMPTY = dict.fromkeys(
    (
        *("CBR-Interaction_cost", "CBR-IT-path_DBIDs", "CBR-actual_volume", "CBR-contract_DBIDs"),
        *("Classify_Actionability_CtgName", "Classify_Actionability_CtgRelevancy", "Classify_Actionability_CtgId"),
        *("Classify_Sentiment_CtgId", "Classify_Sentiment_CtgName", "Classify_Sentiment_CtgRelevancy"),
        *("Screen_Actionability_CtgName", "Screen_Actionability_CtgRelevancy", "Screen_Actionability_ScreenRuleName"),
        *("Screen_Sentiment_CtgName", "Screen_Sentiment_CtgRelevancy", "Screen_Sentiment_ScreenRuleName"),
        *("RRequestedSkillCombination", "RTargetRuleSelected", "RVQDBID", "RVQID", "EmailAddress", "MiddleName"),
        *("_facebookBirthdayDate", "_facebookCurrentLocation", "_facebookHomeTownLocation", "_facebookLanguages"),
        *("_facebookLocale", "_facebookSex", "_facebookTimezone"),
    ),
    "",
)
"""Keys that the sample has without a value."""

_FIXED = {
    "ChatServerAppName": "simulated_chat",
    "ChatServerDBID": "115",
    "ChatServerHost": "chat.invalid",
    "ChatServerPort": "7160",
    "CustomerSegment": "default",
    "IxnAlreadyCreatedInUCS": "1",
    "PegAGSocialMediaAgentGroup": 1,
    "RRequestedSkills": None,
    "RStrategyDBID": "1225",
    "RStrategyName": "FacebookAgentDeliveryStrategy",
    "RTargetAgentGroup": "SocialMediaAgentGroup",
    "RTargetObjSelDBID": "117",
    "RTargetObjectSelected": "SocialMediaAgentGroup",
    "RTargetRequested": "SocialMediaAgentGroup",
    "RTargetTypeSelected": "2",
    "RTenant": "Environment",
    "ServiceObjective": 0,
    "ServiceType": "default",
    "UserData2": 123456789,
    "_facebookActorObjectType": "com.genesyslab.mcr.facebook.fql.User",
    "_facebookActorXML": "<com.genesyslab.mcr.facebook.fql.User>...</com.genesyslab.mcr.facebook.fql.User>",
    "_facebookDriverVersion": "8.5.101.04",
    "_facebookInQueueAtTarget": "0",
    "_facebookItxType": "10",
    "_facebookPMInboxUrl": "https://page.invalid/?folder=inbox",
    "_facebookPMThreadNMessages": "1",
    "_facebookSourceId": "830000000000000",
    "_facebookSourceNickName": "SimulatedPage",
    "_facebookSourceObjectType": "com.genesyslab.mcr.facebook.fql.Page",
    "_facebookSourceXML": "<com.genesyslab.mcr.facebook.fql.Page>...</com.genesyslab.mcr.facebook.fql.Page>",
    "desktop_actionable": "1",
    "desktop_expand": "1",
    "desktop_sentiment": "Neutral",
}
"""Keys that have the same value in every session."""
