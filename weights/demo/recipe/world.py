"""The emoji world: which emoji belong to it and what is known about each.

Everything that captions, the gallery, the queries and the evaluation need to know about a picture is
derived here, by rule, from the names of Unicode CLDR (through unicode-emoji-json).
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

VENDORS = ("noto", "fluent-flat", "fluent-3d")  # shipped and trained on
UNSEEN_VENDOR = "twemoji"  # evaluated only
ALL_VENDORS = VENDORS + (UNSEEN_VENDOR,)
STYLES = {"noto": "drawn", "fluent-flat": "flat", "fluent-3d": "3d"}

SKINS = ("yellow", "light", "medium-light", "medium", "medium-dark", "dark")
SKIN_MODIFIERS = ("", "\U0001F3FB", "\U0001F3FC", "\U0001F3FD", "\U0001F3FE", "\U0001F3FF")

BACKGROUNDS = {
    "white": (255, 255, 255),
    "red": (214, 48, 49),
    "orange": (245, 150, 40),
    "yellow": (250, 220, 70),
    "green": (70, 160, 75),
    "blue": (50, 110, 215),
    "purple": (130, 75, 185),
    "pink": (245, 150, 190),
    "brown": (120, 80, 50),
    "gray": (140, 144, 150),
    "black": (18, 18, 20),
}

ROLES = """farmer;cook;health worker;student;teacher;judge;mechanic;factory worker;office worker;scientist;technologist;
singer;artist;pilot;astronaut;firefighter;police officer;detective;guard;construction worker;superhero;
supervillain;mage;fairy;vampire;raising hand;surfing;biking;running;in tuxedo""".replace("\n", "").split(";")

PEOPLE = """baby;child;boy;girl;person;man;woman;person blond hair;man blond hair;woman blond hair;person beard;man beard;
woman beard;man red hair;woman red hair;person red hair;man curly hair;woman curly hair;person curly hair;man white hair;
woman white hair;person white hair;man bald;woman bald;person bald;older person;old man;old woman;prince;princess;
santa claus;mrs. claus;ninja;woman dancing;man dancing;merman;mermaid;merperson;baby angel;snowboarder;skier;troll""".replace("\n", "").split(";")

HANDS = """waving hand;raised hand;ok hand;victory hand;crossed fingers;thumbs up;thumbs down;raised fist;clapping hands;
folded hands;flexed biceps;ear;foot;backhand index pointing left;backhand index pointing right;
backhand index pointing up;backhand index pointing down;brain;anatomical heart;tooth;bone;eyes;tongue""".replace("\n", "").split(";")

PLACES = """volcano;mount fuji;house;castle;church;tent;ferris wheel;bus;ambulance;fire engine;police car;taxi;automobile;
delivery truck;tractor;racing car;motorcycle;bicycle;skateboard;roller skate;anchor;sailboat;canoe;ship;
airplane;helicopter;rocket;flying saucer;hourglass done;alarm clock;sun;sun with face;ringed planet;star;
glowing star;cloud;cloud with rain;sun behind cloud;tornado;rainbow;umbrella;high voltage;snowflake;snowman;
fire;droplet;water wave;new moon;waxing crescent moon;first quarter moon;waxing gibbous moon;full moon;
waning gibbous moon;last quarter moon;waning crescent moon;new moon face;full moon face;stop sign;
vertical traffic light""".replace("\n", "").split(";")

THINGS = """jack-o-lantern;christmas tree;sparkles;balloon;party popper;ribbon;wrapped gift;trophy;sports medal;soccer ball;
baseball;basketball;volleyball;american football;ice skate;kite;pool 8 ball;crystal ball;magic wand;game die;
teddy bear;artist palette;glasses;sunglasses;t-shirt;dress;backpack;running shoe;high-heeled shoe;crown;top hat;
graduation cap;lipstick;ring;gem stone;bell;musical note;microphone;headphone;saxophone;trumpet;guitar;violin;
drum;mobile phone;telephone;laptop;camera;magnifying glass tilted left;candle;light bulb;closed book;green book;
blue book;orange book;money bag;envelope;pencil;paintbrush;briefcase;scissors;key;hammer;axe;crossed swords;
bomb;bow and arrow;shield;magnet;microscope;telescope;pill;bed;chair;bathtub;shopping cart""".replace("\n", "").split(";")

SYMBOLS = """up arrow;right arrow;down arrow;left arrow;red circle;orange circle;yellow circle;green circle;blue circle;
purple circle;brown circle;black circle;white circle;red square;orange square;yellow square;green square;
blue square;purple square;brown square;black large square;white large square;large orange diamond;
large blue diamond;red triangle pointed up;red triangle pointed down;check mark;cross mark;warning;radioactive;
recycling symbol;yin yang;peace symbol""".replace("\n", "").split(";")

SMILEYS_LEFT_OUT = """hole;speech balloon;eye in speech bubble;left speech bubble;right anger bubble;thought balloon;zzz;
hundred points;anger symbol;heart decoration;heart exclamation;face in clouds;dashing away""".replace("\n", "").split(";")
NATURE_LEFT_OUT = """guide dog;service dog;paw prints;feather;wing;black bird;worm;microbe;lotus;rosette;herb;
leaf fluttering in wind;empty nest;leafy green;front-facing baby chick;coral""".replace("\n", "").split(";")
FOOD_LEFT_OUT = """flatbread;cut of meat;stuffed flatbread;shallow pan of food;pot of food;bento box;rice cracker;curry rice;
oden;fish cake with swirl;moon cake;dango;takeout box;teacup without handle;sake;tumbler glass;pouring liquid;mate;
amphora;jar;ginger root;chestnut;tamale;falafel;fondue;bowl with spoon""".replace("\n", "").split(";")

COLOURS = ("red", "pink", "orange", "yellow", "green", "light blue", "blue", "purple", "brown", "black", "grey", "white")
SHAPES = ("heart", "circle", "square", "book", "diamond", "apple")
HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# Cats that wear a face's expression, and the face that wears it.
CAT_OF_FACE = {
    "grinning face with big eyes": "grinning cat",
    "grinning face with smiling eyes": "grinning cat with smiling eyes",
    "face with tears of joy": "cat with tears of joy",
    "smiling face with heart-eyes": "smiling cat with heart-eyes",
    "smirking face": "cat with wry smile",
    "kissing face with closed eyes": "kissing cat",
    "weary face": "weary cat",
    "crying face": "crying cat",
    "enraged face": "pouting cat",
}


@dataclass(frozen=True)
class Entity:
    """One emoji: a name, and a skin tone where the name takes one."""

    id: int
    name: str  # what captions say, without the skin tone
    name_id: int
    emoji: str
    skin: int  # index into SKINS; 0 where there is no choice
    has_skin: bool
    base: str  # the concept under gender or colour: "farmer", "heart"
    gender: str  # man, woman, person or ""
    hair: str
    colour: str
    hour: str
    expression: str  # what a relative clause says of a face: "crying", "has tears of joy"
    family: str  # entities that edits lead between
    group: str

    @property
    def slug(self):
        s = re.sub(r"[^a-z0-9]+", "-", self.name).strip("-")
        return f"{s}-{SKINS[self.skin]}" if self.skin else s

    @property
    def code(self):
        return "-".join(f"{ord(c):04x}" for c in self.emoji)

    def attributes(self):
        """The structured facts as a plain map, empty ones left out."""
        out = {"concept": self.base, "family": self.family}
        for key in ("gender", "hair", "colour", "hour", "expression"):
            if getattr(self, key):
                out[key] = getattr(self, key)
        if self.has_skin:
            out["skin"] = SKINS[self.skin]
        return out


def _plain(name):
    return name.lower().replace("’", "'").replace("“", '"').replace("”", '"')


def _caption_name(name):
    """CLDR's name as a phrase of running text."""
    if m := re.fullmatch(r"(man|woman|person) (red|curly|white|blond) hair", name):
        return f"{m[1]} with {m[2]} hair"
    if m := re.fullmatch(r"(man|woman|person) bald", name):
        return f"bald {m[1]}"
    if m := re.fullmatch(r"(man|woman|person) beard", name):
        return f"{m[1]} with beard"
    if m := re.fullmatch(r"(black|white) large square", name):
        return f"{m[1]} square"
    if m := re.fullmatch(r"large (orange|blue) diamond", name):
        return f"{m[1]} diamond"
    return {"closed book": "red book", "mrs. claus": "mrs claus"}.get(name, name)


def _expression(name):
    if m := re.fullmatch(r"face with (.*)", name) or re.fullmatch(r"cat with (.*)", name):
        return "has " + m[1]
    if m := re.fullmatch(r"(.*) (?:face|cat) with (.*)", name):
        return f"is {m[1]} with {m[2]}"
    if m := re.fullmatch(r"face (.*ing.*)", name):
        return f"is {m[1]}"
    if m := re.fullmatch(r"(.*) (?:face|cat)", name):
        return "is " + m[1]
    return ""


def _wanted(name, group):
    if group == "Smileys & Emotion":
        return name not in SMILEYS_LEFT_OUT
    if group == "Animals & Nature":
        return name not in NATURE_LEFT_OUT
    if group == "Food & Drink":
        return name not in FOOD_LEFT_OUT
    if group == "People & Body":
        return name in PEOPLE or name in HANDS or _role(name)[1] in ROLES
    return name in PLACES or name in THINGS or name in SYMBOLS or _hour(name) != ""


def _role(name):
    for gender in ("man", "woman", "person"):
        if name.startswith(gender + " "):
            return gender, name[len(gender) + 1 :]
    return ("person", name) if name in ROLES else ("", name)


def _hour(name):
    m = re.fullmatch(r"(\w+)(?: o'clock|-(thirty))", name)
    return name if m and m[1] in HOURS else ""


def _facts(name, phrase, group):
    """(base, gender, hair, colour, hour, expression, family) of a name."""
    if hour := _hour(name):
        return "clock", "", "", "", hour, "", "clock"
    if name in HANDS:
        return phrase, "", "", "", "", "", "hand"
    gender, role = _role(name)
    if group == "People & Body":
        if role in ROLES:
            return role, gender, "", "", "", "", "role"
        if m := re.fullmatch(r"(?:(red|curly|white|blond) hair)|(bald)|(beard)", role):
            return "person", gender, next(x for x in m.groups() if x) if not m[3] else "beard", "", "", "", "hair"
        if name in ("man", "woman", "person"):
            return "person", name, "", "", "", "", "hair"
        gendered = {"old man": ("old person", "man"), "old woman": ("old person", "woman"),
                    "older person": ("old person", "person"), "prince": ("royalty", "man"),
                    "princess": ("royalty", "woman"), "boy": ("child", "man"), "girl": ("child", "woman"),
                    "child": ("child", "person"), "santa claus": ("claus", "man"), "mrs. claus": ("claus", "woman"),
                    "merman": ("merperson", "man"), "mermaid": ("merperson", "woman"),
                    "merperson": ("merperson", "person"), "man dancing": ("dancing", "man"),
                    "woman dancing": ("dancing", "woman")}
        base, gender = gendered.get(name, (name, ""))
        return base, gender, "", "", "", "", "person"
    for colour in sorted(COLOURS, key=len, reverse=True):
        if phrase.startswith(colour + " ") and phrase[len(colour) + 1 :] in SHAPES:
            return phrase[len(colour) + 1 :], "", "", colour, "", "", phrase[len(colour) + 1 :]
    if group == "Smileys & Emotion":
        if re.search(r"\bcat\b", name):
            return phrase, "", "", "", "", _expression(name), "cat"
        if re.search(r"\bface\b", name) and name != "clown face":
            return phrase, "", "", "", "", _expression(name), "face"
        return phrase, "", "", "", "", "", "heart-like" if "heart" in name else "creature"
    if "moon" in name:
        return phrase, "", "", "", "", "", "moon"
    if name.endswith(" arrow"):
        return phrase, "", "", "", "", "", "arrow"
    families = {"Animals & Nature": "nature", "Food & Drink": "food", "Travel & Places": "place",
                "Activities": "thing", "Objects": "thing", "Symbols": "symbol"}
    return phrase, "", "", "", "", "", families[group]


def toned(emoji, skin):
    """The emoji with a skin tone modifier after its first code point."""
    if skin == 0:
        return emoji
    rest = emoji[1:]
    return emoji[0] + SKIN_MODIFIERS[skin] + rest.removeprefix("\ufe0f")


def load(node_modules, available):
    """All entities. available(vendor, code) says whether a vendor has a picture of a code point sequence."""
    data = json.loads((Path(node_modules) / "unicode-emoji-json/data-by-emoji.json").read_text())
    entities, names = [], []
    for emoji, record in data.items():
        name, group = _plain(record["name"]), record["group"]
        if group == "Flags" or not _wanted(name, group):
            continue
        code = "-".join(f"{ord(c):04x}" for c in emoji)
        if not all(available(v, code) for v in ALL_VENDORS):
            continue
        phrase = _caption_name(name)
        facts = _facts(name, phrase, group)
        tones = range(6) if record["skin_tone_support"] else range(1)
        names.append(phrase)
        for skin in tones:
            e = Entity(len(entities), phrase, len(names) - 1, toned(emoji, skin), skin, len(tones) > 1, *facts, group)
            if all(available(v, e.code) for v in ALL_VENDORS):
                entities.append(e)
    return entities, names


def held_out(concept, attribute, percent=10):
    """Whether a concept x attribute combination is kept from training (by a hash: the same on every machine)."""
    digest = hashlib.sha256(f"{concept}|{attribute}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent


def skin_held_out(e):
    return e.skin > 0 and held_out(e.name, "skin " + SKINS[e.skin])


def background_held_out(e, background):
    return background != "white" and held_out(e.name, "background " + background)
