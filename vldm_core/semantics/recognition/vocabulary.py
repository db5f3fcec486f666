"""Words for what old films show.

Every word is written as it stands in a sentence, with its article where it has one, because zero-shot tagging puts it
into sentences; as a tag it loses the article.
"""

import os
from types import MappingProxyType

from ...errors import SettingsError
from ...files.text import check_letters, read_text

_GROUPS = {
    "people": (
        "a man, a woman, a boy, a girl, a baby, children, a couple, a family, a group of people, a crowd, "
        "workers, soldiers, sailors, policemen, firemen, farmers, miners, schoolchildren, dancers, musicians, an "
        "orchestra, a clown, a king, a priest, nuns, a bride and a groom, a politician, a cowboy, athletes, "
        "swimmers, cyclists, skiers, spectators, passengers, a face, hands"
    ),
    "clothes": (
        "a hat, a top hat, a bowler hat, a cap, a uniform, a suit, a long dress, an apron, a fur coat, a veil, a "
        "swimsuit, a helmet, an umbrella, a moustache, a beard"
    ),
    "doing": (
        "people walking, people dancing, people marching, people waving, people eating, people swimming, people "
        "working, a fight, a chase, a kiss, a handshake, a speech, a parade, a procession, a funeral, a wedding, "
        "a ceremony, a demonstration, a race, a football match, a boxing match, a market, a fair, a picnic, a "
        "launch of a ship, an explosion, a fire, a flood, an accident"
    ),
    "city": (
        "a street, a city, a square, a bridge, a tram, a bus, a railway station, a factory, a chimney, a tower, a "
        "church, a cathedral, a palace, a castle, a skyscraper, houses, a shop, a shop window, a hotel, a school, "
        "a hospital, a theatre, a monument, a fountain, a park, a construction site, ruins, rooftops, a "
        "staircase, street lamps, a poster, flags"
    ),
    "traffic": (
        "a train, a steam locomotive, a railway carriage, railway tracks, a car, a racing car, a truck, a "
        "motorcycle, a bicycle, a horse-drawn carriage, a cart, an airplane, a biplane, an airship, a hot air "
        "balloon, a ship, a steamship, a sailing ship, a boat, a rowing boat, a submarine, a harbour, an airfield"
    ),
    "inside": (
        "a room, a living room, a bedroom, a kitchen, a dining table, an office, a classroom, a restaurant, a "
        "bar, a ballroom, a stage, a laboratory, a workshop, a prison cell, a corridor, a window, a door, a "
        "curtain, a fireplace, a bed, a chair, a desk, a mirror, a lamp, a candle, a clock, a telephone, a "
        "typewriter, a newspaper, a letter, a book, a painting, a piano, a radio, a microphone, a bottle, a "
        "glass, a cigarette"
    ),
    "land": (
        "a landscape, a mountain, a hill, a forest, a tree, a field, a meadow, a garden, flowers, a farm, a "
        "village, a road, a river, a waterfall, a lake, the sea, waves, a beach, an island, a desert, a cave, a "
        "volcano, snow, ice, rain, fog, clouds, the sky, the sun, the moon, smoke, steam, dust, shadows"
    ),
    "animals": (
        "a horse, a dog, a cat, a cow, sheep, a pig, chickens, a goat, a donkey, a camel, an elephant, a lion, a "
        "tiger, a bear, a monkey, a bird, pigeons, ducks, fish, a snake"
    ),
    "work and war": (
        "a machine, a crane, a plough, a harvest, a mine, a weapon, a rifle, a cannon, a tank, a trench, a "
        "battlefield, a warship, a bomb, a medal, a wheel, an engine"
    ),
    "cinema": (
        "an intertitle with text, a title card, a map, a diagram, a puppet, an animated drawing, a close-up of a "
        "face, a view from above, a silhouette, a night scene, an empty picture"
    ),
}

VOCABULARY_GROUPS = MappingProxyType({name: tuple(text.split(", ")) for name, text in _GROUPS.items()})
"""Words by what they are about."""

VOCABULARY = tuple(word for group in VOCABULARY_GROUPS.values() for word in group)
"""All words, in the order in which ties are decided."""


def tag_of(word: str) -> str:
    """Return the tag of a word: without its article."""
    first, _, rest = word.partition(" ")
    return rest if rest and first.lower() in ("a", "an", "the") else word


def read_vocabulary(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a list of words of one's own: one per line; lines that start with # and empty ones do not count.

    Raises:
        SettingsError: The file cannot be read, or the list cannot be used.
    """
    text = read_text(path, "the word list").removeprefix("\ufeff")
    try:
        check_letters(text.splitlines())
        return parse_vocabulary(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_vocabulary(text: str) -> tuple[str, ...]:
    """Read a list of words from text; see `read_vocabulary`.

    Raises:
        SettingsError: There is no word, one has a comma or semicolon, or one comes twice.
    """
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return checked_vocabulary(tuple(line for line in lines if line and not line.startswith("#")))


def checked_vocabulary(words: tuple[str, ...]) -> tuple[str, ...]:
    """Check a list of words.

    Raises:
        SettingsError: There is no word, one has a comma or semicolon, or one comes twice.
    """
    if not words:
        raise SettingsError("a word list needs at least one word; got none")
    seen: set[str] = set()
    for word in words:
        tag = tag_of(word)
        if not tag.strip() or not tag.isprintable() or {",", ";"} & {*word}:
            raise SettingsError(f"the word list has {word!r}; give one word or phrase per line, without commas")
        if tag.casefold() in seen:
            raise SettingsError(f"the word list has {tag!r} twice; remove one")
        seen.add(tag.casefold())
    return words
