"""What scripts/schemathesis knows of this API beyond its OpenAPI document.

A value that is made up gets no further than "not found". So most calls are given the ids of things
that are there, in the status that the call wants, made on demand over the same API.
"""

import atexit
import collections
import json
import os
import random
import re
import threading
import time

import requests
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import MissingHeaderNotRejected

BASE = os.environ["API_URL"]
HEADERS = {
    "authorization": f"Bearer {os.environ['API_TOKEN']}",
    "x-auth-context": json.dumps({"api_access": True, "api_code": os.environ["RERUN_API_CODE"]}),
    "x-ip": "203.0.113.7",
}
COUNTS = os.environ["API_COUNTS"]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
AUDIENCES = [
    "customer_ref,country,tier\na,DE,gold\nb,DE,gold\nc,FR,\nd,FR,silver\n",
    "customer_ref,country,tier\na,DE,gold\nd,FR,silver\ne,ES,gold\nf,,gold\n",
    "customer_ref,country,tier\na,DE,gold\nc,FR,\n",
]

# One of our own: Hypothesis looks after the global one.
chance = random.Random(int(os.environ["API_SEED"]))
session = requests.Session()
lock = threading.RLock()
answered = collections.Counter()


def post(path, body, content_type="application/json"):
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {**HEADERS, "content-type": content_type}
    answer = session.post(f"{BASE}/v1/{path}", data=data.encode(), headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


# ---------------------------------------------------------------- things that are there


def make_group(csv):
    group = post("customer-group/create", {"name": "Audience"})["id"]
    if csv:
        post(f"customer-group/import?customer_group_id={group}", csv, "text/csv")
    return group


def settled(campaign):
    for _ in range(600):
        if post("campaign/get", {"campaign_id": campaign})["status"] != "Processing":
            return
        time.sleep(0.02)
    raise RuntimeError("messages are not generated")


def make_campaign(status):
    # A tier that a customer does not have makes a subject that is blank, which is no message.
    subject = "{{ tier }}" if status == "Generation failed" else "To {{ country }}"
    campaign = post(
        "campaign/create",
        {
            "name": "Sale",
            "customer_group_id": chance.choice(GROUPS),
            "segment_by": ["country", "tier"],
            "template": {"subject": subject, "body": "Dear {{ tier }} customer"},
            "approval_stages": chance.choice([["Review"], ["Draft", "Legal"]]),
        },
    )
    named = {"campaign_id": campaign["id"]}
    if status == "Draft":
        return campaign["id"]
    post("campaign/launch", named)
    settled(campaign["id"])
    if status in ("Generation failed", "Ready for review"):
        return campaign["id"]
    for _ in campaign["approval_stages"]:
        post("campaign/messages/review", {**named, "decision": "approve", "all": True})
    if status == "Ready to publish":
        return campaign["id"]
    post("campaign/publish", named)
    if status == "Published":
        return campaign["id"]
    # A rerun, of which some segments are new.
    post("campaign/rerun/initiate", {**named, "new_customer_group_id": chance.choice(GROUPS)})
    settled(campaign["id"])
    return campaign["id"]


GROUPS = [make_group(csv) for csv in AUDIENCES]
EMPTY_GROUP = make_group(None)
STATUSES = ["Draft", "Generation failed", "Ready for review", "Ready to publish", "Published", "Rerun"]
# What each call wants; the others take any.
WANTED = {
    "campaign_launch": ["Draft"],
    "campaign_publish": ["Ready to publish"],
    "campaign_rerun_initiate": ["Published"],
    "campaign_rerun_preview": ["Published"],
    "campaign_rerun_retry": ["Generation failed"],
    "campaign_rerun_cancel": ["Rerun", "Ready for review"],
    "campaign_messages_review": ["Ready for review", "Rerun"],
    "campaign_messages_edit": ["Ready for review", "Ready to publish", "Rerun"],
    "campaign_messages_regenerate": ["Ready for review", "Ready to publish"],
}
CHANGING = set(WANTED) - {"campaign_rerun_preview"}
campaigns = {status: [make_campaign(status) for _ in range(3)] for status in STATUSES}
cursors = collections.defaultdict(list)


def campaign_for(operation):
    status = chance.choice(WANTED.get(operation, STATUSES))
    known = campaigns[status]
    # A call that changes something leaves the campaign in another status.
    if operation in CHANGING and chance.random() < 0.5:
        known.append(make_campaign(status))
        return known[-1]
    return chance.choice(known[-20:])


def messages_of(campaign):
    page = post("campaign/rerun/messages", {"campaign_id": campaign})
    return [message["id"] for message in page["messages"]]


# ---------------------------------------------------------------- into the calls


def is_id(value):
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def improve(operation, body):
    """Puts in what is there for well-formed ids. What is not well-formed stays as it is."""
    campaign = None
    if is_id(body.get("campaign_id")):
        campaign = body["campaign_id"] = campaign_for(operation)
    for name in ("customer_group_id", "new_customer_group_id"):
        if is_id(body.get(name)):
            body[name] = chance.choice([*GROUPS, EMPTY_GROUP])
    if campaign is not None:
        ids = messages_of(campaign)
        if ids and is_id(body.get("message_id")):
            body["message_id"] = chance.choice(ids)
        named = body.get("message_ids")
        if ids and isinstance(named, list) and 0 < len(named) <= 100 and all(map(is_id, named)):
            body["message_ids"] = chance.sample(ids, chance.randint(1, len(ids)))
    for name in ("run_number", "from_run", "to_run"):
        number = body.get(name)
        if type(number) is int and 1 <= number < 2**31:
            body[name] = chance.choice([1, 1, 2])
    cursor = body.get("cursor")
    if isinstance(cursor, str):
        body["cursor"] = chance.choice(cursors[operation]) if cursors[operation] else None


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw["operationId"]
    with lock:
        if chance.random() >= 0.75:
            return
        if isinstance(case.body, dict) and case.media_type == "application/json":
            body = dict(case.body)
            improve(operation, body)
            case.body = body
        if isinstance(case.query, dict) and is_id(case.query.get("customer_group_id")):
            case.query = {**case.query, "customer_group_id": GROUPS[0]}
            if isinstance(case.body, (str, bytes)) and chance.random() < 0.5:
                case.body = chance.choice(AUDIENCES)


@schemathesis.hook
def after_call(context, case, response):
    operation = case.operation.definition.raw["operationId"]
    with lock:
        try:
            body = json.loads(response.content)
        except ValueError:
            body = None
        code = body.get("code", "") if isinstance(body, dict) else ""
        answered[operation, response.status_code, code] += 1
        if isinstance(body, dict) and isinstance(body.get("next_cursor"), str):
            cursors[operation].append(body["next_cursor"])


@atexit.register
def write_counts():
    with open(COUNTS, "w", encoding="utf-8") as file:
        json.dump([[*key, count] for key, count in sorted(answered.items())], file)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Leaves out what is this API's way, and right."""
    # A missing token is 403 here. The check in_form looks at its code.
    if isinstance(failure, MissingHeaderNotRejected) and response.status_code == 403:
        return False
    # Nobody refuses headers that they do not know; proxies add theirs.
    unknown = "x-schemathesis-unknown-property" in case.headers
    return not (unknown and isinstance(failure, AcceptedNegativeData))


# ---------------------------------------------------------------- checks of our own

# Of requests that the document's schemas allow, those that are refused all the same: the rules
# that no schema can tell.
RULES = re.compile(
    "|".join(
        [
            r"^`template",  # its grammar, and the names it may use
            r"^`segment_by` names",  # a name twice, or `customer_ref`
            r"^`segment_by` must not be blank",  # white space that is none to a regular expression
            r"^`(approval_stages|name|reason|subject|body)` must not be blank",
            r"^`approval_stages` names",  # a name twice
            r"^`reason` (holds a NUL|may have at most)",  # of a rejection, not of an approval
            r"^give `message_ids` or `all`",
            r"^`cursor`|cursor",  # opaque
            r"^line \d+",  # the grammar of CSV
            r"header",  # its header row
            r"given more than once",
        ]
    )
)


class NotUnderstood(Failure):
    """A request that the document allows is refused as invalid."""

    def __init__(self, *, operation, message):
        super().__init__(operation=operation, title="Not understood", message=message)


class NoAnswerInForm(Failure):
    """An answer is not in the form that all answers have."""

    def __init__(self, *, operation, message):
        super().__init__(operation=operation, title="Not in form", message=message)


@schemathesis.check
def understood(ctx, response, case):
    if response.status_code != 400 or case.meta is None:
        return
    if not case.meta.generation.mode.is_positive:
        return
    body = response.json()
    if body["code"] == "invalid_request" and not RULES.search(body["message"]):
        raise NotUnderstood(operation=case.operation.label, message=body["message"])


@schemathesis.check
def in_form(ctx, response, case):
    """Every answer has an id, and every error that id, its own status and a documented code."""

    def wrong(message):
        return NoAnswerInForm(operation=case.operation.label, message=message)

    ids = response.headers.get("x-request-id")
    if not ids:
        raise wrong("no x-request-id")
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    body = response.json()
    if body["status"] != response.status_code or body["request_id"] != ids[0]:
        raise wrong(f"{response.status_code}, {ids[0]}: {body}")
    documented = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    examples = documented.get("content", {}).get("application/json", {}).get("examples")
    if examples is not None and body["code"] not in examples:
        raise wrong(f"{body['code']} is not documented")
