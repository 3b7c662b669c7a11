"""A small probabilistic grammar: each sentence has one topic, one time and one mood."""

import numpy as np

__all__ = ["TOPICS", "sentence"]

# For each topic: subjects, verbs (present/past), objects and places.
_WORDS = {
    "garden": (
        "gardener neighbour girl widow boy florist",
        "plants/planted waters/watered picks/picked trims/trimmed digs/dug sells/sold",
        "roses beans tulips tomatoes hedge apples herbs grass",
        "behind the shed/near the pond/along the fence/under the tree",
    ),
    "kitchen": (
        "cook baker mother guest waiter chef",
        "cooks/cooked bakes/baked tastes/tasted burns/burned serves/served stirs/stirred",
        "soup bread pie rice fish stew pancakes sauce",
        "on the stove/at the table/in the oven/by the sink",
    ),
    "sea": (
        "sailor captain fisherman diver pirate pilot",
        "steers/steered repairs/repaired sinks/sank anchors/anchored rows/rowed paints/painted",
        "boat ship ferry raft yacht canoe sail net",
        "off the coast/in the harbour/past the lighthouse/beyond the reef",
    ),
    "school": (
        "teacher pupil student tutor principal librarian",
        "reads/read writes/wrote explains/explained forgets/forgot copies/copied marks/marked",
        "book essay lesson poem exam homework story page",
        "in the library/before the class/at the desk/on the blackboard",
    ),
    "music": (
        "singer drummer pianist composer band violinist",
        "plays/played sings/sang records/recorded rehearses/rehearsed hears/heard praises/praised",
        "song tune waltz symphony chorus melody ballad opera",
        "on the stage/in the studio/at the concert/for the crowd",
    ),
    "sport": (
        "player coach striker goalkeeper referee runner",
        "kicks/kicked throws/threw catches/caught wins/won loses/lost misses/missed",
        "ball match race penalty medal cup final point",
        "in the stadium/at the finish/on the pitch/against the rival",
    ),
    "office": (
        "manager clerk secretary lawyer banker accountant",
        "signs/signed sends/sent prints/printed files/filed reviews/reviewed loses/lost",
        "letter contract report invoice memo budget form email",
        "at the meeting/in the archive/before the deadline/for the client",
    ),
    "farm": (
        "farmer shepherd milkmaid dog vet miller",
        "feeds/fed milks/milked sells/sold leads/led brushes/brushed counts/counted",
        "cow sheep horse pig goat hens calf lamb",
        "in the barn/on the hill/by the gate/across the meadow",
    ),
}
_TIMES = {
    "then": "yesterday/last week/long ago/in the morning",
    "now": "today/every day/as usual/once more",
    "later": "tomorrow/next week/before long/in a year",
}
_MOODS = {
    "glad": (
        "happy kind proud cheerful gentle lucky",
        "and everyone laughs/what a lovely day/with a warm smile/to great applause",
    ),
    "grim": (
        "angry tired bitter lazy gloomy unlucky",
        "and nobody cares/what a dreadful day/with a deep sigh/to loud complaints",
    ),
}
_LINKS = "and/while/but/because/so"

TOPICS = tuple(_WORDS)


def sentence(topic: str, rng: np.random.RandomState) -> str:
    """Returns a random sentence: two clauses that share one topic, one time and one mood.

    Args:
      topic: one of `TOPICS`.
      rng: `numpy.random.RandomState`.

    >>> sentence("farm", np.random.RandomState(0))
    'today the lazy dog leads the pig so the milkmaid counts the goat and nobody cares'
    """
    time, mood = _pick(_TIMES, rng), _pick(_MOODS, rng)
    adjectives, comments = _MOODS[mood]
    clauses = [_clause(_WORDS[topic], time, adjectives.split(), rng) for _ in range(2)]
    link, when = _pick(_LINKS, rng), _pick(_TIMES[time], rng)
    parts = [*clauses[:1], link, *clauses[1:], _pick(comments, rng)]
    # The expression of time comes at the start or after the second clause.
    parts.insert(0 if rng.random_sample() < 0.5 else 3, when)
    return " ".join(parts)


def _clause(words, time, adjectives, rng):
    people, deeds, things, places = words
    now, then = _pick(deeds.split(), rng).split("/")
    verb = {"then": then, "now": now, "later": f"will {_infinitive(now)}"}[time]
    who = _pick(people.split(), rng)
    if rng.random_sample() < 0.6:
        who = f"{_pick(adjectives, rng)} {who}"
    clause = f"the {who} {verb} the {_pick(things.split(), rng)}"
    return f"{clause} {_pick(places, rng)}" if rng.random_sample() < 0.5 else clause


def _infinitive(verb):
    """Returns the infinitive of a verb in the third person: carries, copies, catches, digs."""
    for ending, stem in (("ies", "y"), ("tches", "tch"), ("sses", "ss"), ("shes", "sh")):
        if verb.endswith(ending):
            return verb.removesuffix(ending) + stem
    return verb.removesuffix("s")


def _pick(choices, rng):
    """Returns one of the choices, drawn uniformly; a string lists them separated by slashes."""
    choices = choices.split("/") if isinstance(choices, str) else list(choices)
    return choices[int(rng.random_sample() * len(choices))]
