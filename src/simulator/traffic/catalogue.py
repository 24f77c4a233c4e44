"""An invented shop's catalogue: a tree of categories, brands, products and prices, shaped like the real data set's.

How often a category is looked at, its median price and the share of its events without a brand are those of the real
sample (October 2019), rounded; the brands and the products are made up.
"""

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt
from random import Random

# A product's popularity falls with its rank in its category as (rank + ZIPF_SHIFT) ** -ZIPF_EXPONENT: Zipf's law with
# the flat start that the sample's smartphones show.
ZIPF_EXPONENT = 1.2
ZIPF_SHIFT = 5
PRODUCTS_PER_SQRT_WEIGHT = 22
MIN_PRODUCTS, MAX_PRODUCTS = 25, 1_500
PRICE_LOG_SIGMA = 0.8
UNCODED_PRICE_LOG_MEDIAN, UNCODED_PRICE_LOG_SIGMA = 4.4, 0.95
MAX_PRICE = 2574.07  # the sample's; 16 products of it cost exactly this
# In the real sample a third of the events have no category_code, and a quarter of these no brand; of the rest few.
UNCODED_CATEGORIES = 300
UNCODED_SHARE = 0.33
UNCODED_BRANDLESS_EXPONENT = 2.3
FREE_SHARE = 0.022  # of the less popular products without code and brand: gifts and data errors, price 0
PEAK_FACTOR = 1.5


@dataclass(frozen=True)
class Department:
    """A root of the category tree. `peak` are the hours (UTC) at which it is viewed more than at others."""

    peak: frozenset[int]
    brands: tuple[str, ...]  # its best known, the leading first
    categories: dict[str, tuple[float, float, float]]  # below the root: relative popularity, median price, brandless


@dataclass(frozen=True)
class Category:
    """A leaf of the tree. `weight` is relative to the other categories, higher at the hours of `peak` (UTC)."""

    code: str  # empty: none
    weight: float
    median_price: float
    brandless_share: float  # of its events
    peak: frozenset[int]
    brands: tuple[str, ...]  # the best selling first


@dataclass(frozen=True, eq=False)
class Product:
    """`columns` are the row's from product_id to price; `appeal` multiplies the chance that a view becomes a sale."""

    columns: str
    appeal: float


# A brand's appeal; others have 1. Some are looked at far more than bought; the small ones that sell well are what the
# question for brands that need marketing should find.
APPEAL = {
    "novaro": 1.5,
    "kestrel": 1.2,
    "lumiq": 0.3,
    "ardent": 0.3,
    "velora": 0.2,
    "tundra": 0.3,
    "pikos": 3.0,
    "feinwerk": 2.5,
    "bambino": 2.5,
    "ostwind": 1.5,
}

_EVENING, _NIGHT, _MORNING, _DAY = (
    frozenset(hours) for hours in ((16, 17, 18, 19, 20, 21), (22, 23, 0, 1, 2), (3, 4, 5, 6, 7, 8), (9, 10, 11, 12, 13))
)
_DEPARTMENTS = {
    "electronics": Department(
        _EVENING,
        ("novaro", "kestrel", "lumiq", "oriole", "zentek", "pikos"),
        {
            "smartphone": (4700, 287, 0),
            "clocks": (560, 165, 0.18),
            "audio.headphone": (400, 71, 0),
            "video.tv": (250, 420, 0),
            "telephone": (170, 26, 0),
            "audio.subwoofer": (90, 100, 0.27),
            "tablet": (70, 380, 0),
            "audio.acoustic": (24, 155, 0),
            "camera.video": (20, 230, 0),
            "video.projector": (15, 400, 0),
            "audio.microphone": (11, 19, 0.27),
            "camera.photo": (4, 640, 0),
            "audio.music_tools.piano": (2, 120, 0),
        },
    ),
    "computers": Department(
        _DAY,
        ("ardent", "kestrel", "quantik", "zentek", "boreas"),
        {
            "notebook": (560, 600, 0),
            "desktop": (117, 600, 0.03),
            "components.videocards": (58, 315, 0),
            "peripherals.monitor": (46, 110, 0),
            "peripherals.printer": (37, 135, 0.03),
            "components.hdd": (35, 40, 0),
            "peripherals.mouse": (27, 20, 0.15),
            "peripherals.keyboard": (25, 46, 0.12),
            "components.memory": (23, 49, 0.22),
            "components.motherboard": (18, 150, 0),
            "components.power_supply": (18, 75, 0),
            "components.cpu": (15, 250, 0),
            "components.cooler": (10, 32, 0),
            "ebooks": (4, 130, 0),
        },
    ),
    "appliances": Department(
        _MORNING,
        ("ostwind", "marlo", "novaro", "brasa", "tundra", "helio", "feinwerk"),
        {
            "kitchen.refrigerators": (330, 310, 0.22),
            "environment.vacuum": (275, 117, 0.08),
            "environment.air_heater": (250, 34, 0.1),
            "kitchen.washer": (225, 335, 0.01),
            "kitchen.meat_grinder": (128, 72, 0.2),
            "kitchen.microwave": (93, 86, 0.02),
            "environment.water_heater": (90, 100, 0.12),
            "iron": (88, 28, 0),
            "kitchen.blender": (86, 54, 0),
            "environment.air_conditioner": (69, 197, 0.04),
            "kitchen.oven": (59, 55, 0),
            "sewing_machine": (58, 235, 0),
            "kitchen.kettle": (57, 36, 0.02),
            "kitchen.hood": (55, 70, 0.05),
            "kitchen.mixer": (50, 33, 0),
            "kitchen.grill": (41, 113, 0),
            "kitchen.dishwasher": (34, 386, 0),
            "kitchen.hob": (30, 230, 0),
            "personal.hair_cutter": (26, 22, 0),
            "personal.scales": (25, 18, 0),
            "kitchen.juicer": (11, 134, 0),
            "ironing_board": (11, 30, 0),
            "kitchen.coffee_machine": (9, 28, 0),
            "kitchen.toster": (8, 31, 0.12),
            "kitchen.steam_cooker": (7, 36, 0.14),
        },
    ),
    "apparel": Department(
        _NIGHT,
        ("velora", "stride", "nordlys", "campo", "piuma"),
        {
            "shoes": (228, 90, 0.14),
            "shoes.keds": (192, 72, 0.15),
            "shoes.sandals": (27, 34, 0.04),
            "shoes.slipons": (18, 48, 0.11),
            "costume": (16, 136, 1),
            "shoes.moccasins": (12, 80, 0),
            "underwear": (7, 22, 0),
            "dress": (5, 31, 0),
            "trousers": (5, 40, 0.4),
            "shoes.espadrilles": (3, 23, 0),
            "tshirt": (3, 41, 0.67),
            "jacket": (2, 50, 0),
            "jeans": (2, 56, 0),
        },
    ),
    "furniture": Department(
        _EVENING,
        ("hygge", "lindal", "campo", "tundra", "marlo"),
        {
            "living_room.cabinet": (144, 280, 0.57),
            "living_room.sofa": (127, 540, 0.95),
            "bedroom.bed": (112, 155, 0.44),
            "kitchen.table": (46, 116, 0.5),
            "kitchen.chair": (39, 57, 0.33),
            "living_room.chair": (31, 205, 0.42),
            "bedroom.pillow": (17, 15, 0.41),
            "bathroom.toilet": (12, 73, 0),
            "universal.light": (10, 660, 0),
            "bathroom.bath": (8, 340, 0.12),
            "bedroom.blanket": (3, 73, 0.33),
        },
    ),
    "auto": Department(
        _DAY,
        ("volta", "helio", "roadie", "tundra", "hammar"),
        {
            "accessories.player": (245, 72, 0.3),
            "accessories.alarm": (134, 121, 0),
            "accessories.videoregister": (77, 142, 0.25),
            "accessories.compressor": (15, 120, 0.4),
            "accessories.radar": (5, 90, 0),
            "accessories.parktronic": (4, 31, 0),
            "accessories.winch": (4, 580, 0),
        },
    ),
    "construction": Department(
        _DAY,
        ("feinwerk", "ostwind", "hammar", "volta", "boreas"),
        {
            "tools.drill": (77, 82, 0.2),
            "tools.saw": (66, 113, 0.15),
            "tools.welding": (41, 200, 0.22),
            "tools.pump": (34, 64, 0.56),
            "tools.light": (28, 7, 0.68),
            "tools.generator": (24, 90, 0.04),
            "components.faucet": (3, 40, 0),
        },
    ),
    "kids": Department(
        _MORNING,
        ("bambino", "piuma", "nordlys", "hygge"),
        {
            "carriage": (78, 118, 0.12),
            "toys": (32, 23, 0.25),
            "skates": (24, 370, 0.08),
            "dolls": (17, 27, 0.47),
            "fmcg.diapers": (11, 12, 0.09),
            "swing": (4, 270, 1),
        },
    ),
    "accessories": Department(
        _NIGHT,
        ("velora", "campo", "stride", "piuma"),
        {"bag": (99, 64, 0.13), "wallet": (20, 39, 0), "umbrella": (5, 25, 0)},
    ),
    "sport": Department(
        _DAY,
        ("stride", "nordlys", "roadie", "boreas"),
        {"bicycle": (83, 268, 0.02), "trainer": (4, 450, 0), "tennis": (2, 64, 0.5), "snowboard": (2, 270, 0)},
    ),
    "stationery": Department(_DAY, ("quantik", "ardent", "zentek"), {"cartrige": (17, 11, 0)}),
    "medicine": Department(_MORNING, ("helio", "bambino", "marlo"), {"tools.tonometer": (9, 51, 0.22)}),
    "country_yard": Department(
        _MORNING, ("hammar", "feinwerk", "lindal"), {"cultivator": (4, 126, 0), "furniture.hammok": (5, 230, 0)}
    ),
}

# A category's events by brand: four leaders, then a long tail of names that few know.
_LEADERS = (32, 30, 17, 10)
_TAIL = tuple(2.5 * rank**-0.8 for rank in range(1, 31))
_BRAND_WEIGHTS = list(accumulate(_LEADERS + _TAIL))
_SMALL_BRANDS = tuple(
    first + last
    for first in (
        *("al", "bel", "cor", "dan", "el", "fer", "gal", "hel", "ib", "jo", "kar", "lor", "mag", "nel", "or"),
        *("pal", "quin", "ros", "sol", "tar", "ul", "ver", "wes", "xen", "yor", "zan", "bri", "cle", "dro", "fla"),
    )
    for last in (
        *("ba", "dex", "do", "fen", "go", "ka", "lan", "lux", "ma", "mio", "na", "nix", "pa", "ra", "ris"),
        *("sa", "ston", "ta", "tec", "tis", "to", "va", "vent", "vi", "wen", "xa", "ya", "zen", "zio", "zo"),
    )
)


class Shelf:
    """One category's products."""

    def __init__(self, number: int, category: Category, rng: Random) -> None:
        size = int(PRODUCTS_PER_SQRT_WEIGHT * sqrt(category.weight))
        self._ranks = list(
            accumulate(
                (rank + ZIPF_SHIFT) ** -ZIPF_EXPONENT
                for rank in range(1, 1 + min(max(size, MIN_PRODUCTS), MAX_PRODUCTS))
            )
        )
        self._products = list(_products(number, category, self._ranks, rng))

    def product(self, rng: Random) -> Product:
        """Return a random product, the popular ones more often."""
        return self._products[bisect(self._ranks, rng.random() * self._ranks[-1])]


class Catalogue:
    """The shop's shelves; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._categories = list(_categories(Random(f"categories {seed}")))
        self._shelves: dict[int, Shelf] = {}
        self._by_hour = [_weights_at(hour, self._categories) for hour in range(24)]

    def shelf(self, hour: int, rng: Random) -> Shelf:
        """Return the shelf of a random category, as shoppers choose it at that hour (UTC)."""
        weights = self._by_hour[hour]
        number = bisect(weights, rng.random() * weights[-1])
        shelf = self._shelves.get(number)
        if shelf is None:  # made when first asked for, each from a seed of its own: short files need few of them
            shelf = Shelf(number, self._categories[number], Random(f"shelf {self._seed} {number}"))
            self._shelves[number] = shelf
        return shelf


def _categories(rng: Random) -> Iterator[Category]:
    """Return the tree's leaves, then the categories without a code."""
    coded_weight = 0.0
    for root, department in _DEPARTMENTS.items():
        for number, (name, (weight, price, brandless)) in enumerate(department.categories.items()):
            coded_weight += weight
            # The first category has the department's leaders in their order, each next one begins with another.
            turn = number % len(department.brands)
            leaders = (*department.brands[turn:], *department.brands[:turn])[: len(_LEADERS)]
            yield Category(f"{root}.{name}", weight, price, brandless, department.peak, _brands(leaders, rng))
    weights = [1 / (rank + 2) for rank in range(UNCODED_CATEGORIES)]
    scale = coded_weight * UNCODED_SHARE / (1 - UNCODED_SHARE) / sum(weights)
    for rank, weight in enumerate(weights):
        # Spread evenly, not by chance: by chance the share of events without a brand would differ from seed to seed.
        brandless = ((rank * 0.618 + 0.4) % 1) ** UNCODED_BRANDLESS_EXPONENT
        price = rng.lognormvariate(UNCODED_PRICE_LOG_MEDIAN, UNCODED_PRICE_LOG_SIGMA)
        leaders = tuple(rng.sample(_SMALL_BRANDS, len(_LEADERS)))
        yield Category("", weight * scale, price, brandless, frozenset(), _brands(leaders, rng))


def _brands(leaders: tuple[str, ...], rng: Random) -> tuple[str, ...]:
    return (*leaders, *rng.sample(_SMALL_BRANDS, len(_BRAND_WEIGHTS) - len(leaders)))


def _weights_at(hour: int, categories: list[Category]) -> list[float]:
    """Return the cumulated weights of the categories at an hour.

    Those without a code keep their share at each hour, or the night would be all "unknown".
    """
    weights = [category.weight * (PEAK_FACTOR if hour in category.peak else 1) for category in categories]
    coded = sum(weight for weight, category in zip(weights, categories, strict=True) if category.code)
    level = sum(category.weight for category in categories if category.code) / coded
    return list(
        accumulate(
            weight * (level if category.code else 1) for weight, category in zip(weights, categories, strict=True)
        )
    )


def _products(number: int, category: Category, ranks: list[float], rng: Random) -> Iterator[Product]:
    """Return a category's products, the most popular first."""
    category_id = 2_053_013_550_000_000_000 + rng.randrange(10**10)
    brandless_weight = previous = 0.0
    for rank, all_weight in enumerate(ranks):
        # Which products lack a brand is decided by weight, not by chance: the share of *events* without one is given.
        weight, previous = all_weight - previous, all_weight
        is_brandless = brandless_weight + weight <= category.brandless_share * all_weight
        brandless_weight += weight if is_brandless else 0
        brand = "" if is_brandless else category.brands[bisect(_BRAND_WEIGHTS, rng.random() * _BRAND_WEIGHTS[-1])]
        price = min(category.median_price * rng.lognormvariate(0, PRICE_LOG_SIGMA), MAX_PRICE)
        if rank > 20 and not brand and not category.code and rng.random() < FREE_SHARE:
            price = 0
        product_id = (number + 1) * 1_000_000 + rank * 137 + rng.randrange(137)
        yield Product(
            f"{product_id},{category_id},{category.code},{brand},{price:.2f}",
            APPEAL.get(brand, 1.0),
        )
