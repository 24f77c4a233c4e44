"""An invented shop's catalogue: categories, brands, products and prices, shaped like the real data set's."""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from random import Random

PRODUCTS_PER_CATEGORY = 120
ZIPF_EXPONENT = 0.75
# In the real sample a third of the events have no category_code, and a quarter of these no brand; of the rest few.
UNCODED_CATEGORIES = 30
UNCODED_SHARE = 0.33
UNCODED_BRANDLESS_SHARE = 0.27
CODED_BRANDLESS_SHARE = 0.075
FREE_SHARE = 0.003  # of the less popular products: gifts and data errors, price 0
PEAK_FACTOR = 2.5


@dataclass(frozen=True)
class Category:
    """`popularity` is relative to the other categories, higher at the hours of `peak` (UTC)."""

    code: str | None
    popularity: float
    median_price: float
    peak: frozenset[int]
    brands: tuple[str, ...]


@dataclass(frozen=True)
class Product:
    """`appeal` multiplies the chance that a view becomes a cart: some brands are looked at far more than bought."""

    product_id: str
    category_id: str
    category_code: str
    brand: str
    price: str
    appeal: float


# A brand's appeal; others have 1. These few are what the question for brands that need marketing should find.
APPEAL = {"novaro": 1.8, "kestrel": 1.3, "lumiq": 0.15, "ardent": 0.2, "velora": 0.1, "tundra": 0.25, "ostwind": 1.5}

_EVENING, _NIGHT, _MORNING, _DAY = (
    frozenset(hours) for hours in ((20, 21, 22, 23), (0, 1, 2), (6, 7, 8, 9), (12, 13, 14))
)
_PHONES = ("novaro", "kestrel", "lumiq", "oriole", "zentek", "pikos")
_COMPUTERS = ("ardent", "kestrel", "quantik", "zentek", "boreas")
_SCREENS = ("lumiq", "novaro", "helio", "oriole")
_KITCHEN = ("ostwind", "marlo", "brasa", "tundra", "helio", "feinwerk")
_CLOTHES = ("velora", "stride", "nordlys", "campo", "piuma")
_HOME = ("hygge", "lindal", "campo", "tundra", "marlo")
_TOOLS = ("feinwerk", "ostwind", "hammar", "volta", "boreas")
_KIDS = ("bambino", "piuma", "nordlys", "hygge")
_CARS = ("volta", "helio", "roadie", "tundra", "hammar")

_CODED = (
    Category("electronics.smartphone", 30.0, 280, _EVENING, _PHONES),
    Category("electronics.clocks", 5.0, 160, _EVENING, _PHONES),
    Category("computers.notebook", 5.0, 600, _DAY, _COMPUTERS),
    Category("electronics.audio.headphone", 4.0, 70, _NIGHT, _PHONES),
    Category("electronics.video.tv", 3.5, 420, _EVENING, _SCREENS),
    Category("appliances.kitchen.refrigerators", 3.0, 400, _DAY, _KITCHEN),
    Category("appliances.kitchen.washer", 2.6, 330, _MORNING, _KITCHEN),
    Category("appliances.environment.vacuum", 2.6, 110, _MORNING, _KITCHEN),
    Category("apparel.shoes", 3.2, 90, _NIGHT, _CLOTHES),
    Category("apparel.shoes.keds", 1.4, 75, _NIGHT, _CLOTHES),
    Category("furniture.living_room.sofa", 1.8, 450, _EVENING, _HOME),
    Category("furniture.bedroom.bed", 1.6, 260, _EVENING, _HOME),
    Category("electronics.tablet", 1.5, 210, _EVENING, _PHONES),
    Category("computers.desktop", 1.6, 480, _NIGHT, _COMPUTERS),
    Category("computers.peripherals.mouse", 1.3, 30, _NIGHT, _COMPUTERS),
    Category("computers.components.videocards", 1.2, 250, _NIGHT, _COMPUTERS),
    Category("appliances.kitchen.blender", 1.2, 45, _MORNING, _KITCHEN),
    Category("appliances.kitchen.microwave", 1.2, 85, _DAY, _KITCHEN),
    Category("appliances.iron", 1.0, 40, _MORNING, _KITCHEN),
    Category("appliances.environment.air_heater", 1.3, 35, _NIGHT, _KITCHEN),
    Category("construction.tools.drill", 1.1, 75, _DAY, _TOOLS),
    Category("construction.tools.light", 0.9, 25, _DAY, _TOOLS),
    Category("kids.carriage", 1.1, 190, _MORNING, _KIDS),
    Category("kids.toys", 1.0, 30, _EVENING, _KIDS),
    Category("auto.accessories.player", 1.4, 70, _DAY, _CARS),
    Category("auto.accessories.alarm", 0.8, 120, _DAY, _CARS),
    Category("sport.bicycle", 1.0, 220, _DAY, _CARS),
    Category("accessories.bag", 0.9, 35, _NIGHT, _CLOTHES),
    Category("stationery.cartridge", 0.5, 20, _DAY, _COMPUTERS),
    Category("country_yard.cultivator", 0.3, 180, _MORNING, _TOOLS),
)
_ALL_BRANDS = tuple(sorted({brand for category in _CODED for brand in category.brands}))


class Catalogue:
    """Products to browse; the same for the same `rng`."""

    def __init__(self, rng: Random) -> None:
        coded = sum(category.popularity for category in _CODED)
        uncoded_weights = [1 / (rank + 2) for rank in range(UNCODED_CATEGORIES)]
        scale = coded * UNCODED_SHARE / (1 - UNCODED_SHARE) / sum(uncoded_weights)
        uncoded = [
            Category(
                None,
                weight * scale,
                round(rng.lognormvariate(4.2, 0.6), 2),
                frozenset(),
                tuple(rng.sample(_ALL_BRANDS, 8)),
            )
            for weight in uncoded_weights
        ]
        categories = [*_CODED, *uncoded]
        self._shelves = [_shelf(number, category, rng) for number, category in enumerate(categories)]
        self._ranks = list(accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(PRODUCTS_PER_CATEGORY)))
        # The uncoded keep their share at each hour, or the night would be all "unknown".
        self._by_hour = []
        for hour in range(24):
            peaks = [category.popularity * (PEAK_FACTOR if hour in category.peak else 1) for category in _CODED]
            level = coded / sum(peaks)
            self._by_hour.append(
                list(accumulate([*(peak * level for peak in peaks), *(category.popularity for category in uncoded)]))
            )

    def shelf(self, hour: int, rng: Random) -> int:
        """Number of a category, drawn as shoppers choose at that hour (UTC)."""
        weights = self._by_hour[hour]
        return bisect(weights, rng.random() * weights[-1])

    def product(self, shelf: int, rng: Random) -> Product:
        """A product of the category, the popular ones more often."""
        return self._shelves[shelf][bisect(self._ranks, rng.random() * self._ranks[-1])]


def _shelf(number: int, category: Category, rng: Random) -> list[Product]:
    """A category's products, the most popular first."""
    category_id = str(2_053_013_550_000_000_000 + rng.randrange(10**10))
    brandless_share = CODED_BRANDLESS_SHARE if category.code else UNCODED_BRANDLESS_SHARE
    all_weight = brandless_weight = 0.0
    products = []
    for rank in range(PRODUCTS_PER_CATEGORY):
        # Which products lack a brand is decided by weight, not by chance: the share of *events* without one is given.
        weight = (rank + 1) ** -ZIPF_EXPONENT
        all_weight += weight
        brandless = brandless_weight + weight <= brandless_share * all_weight
        brandless_weight += weight if brandless else 0
        brand = (
            ""
            if brandless
            else category.brands[bisect([0.35, 0.6, 0.75, 0.87, 0.94], rng.random()) % len(category.brands)]
        )
        price = category.median_price * rng.lognormvariate(0, 0.55)
        free = rank > 20 and rng.random() < FREE_SHARE
        products.append(
            Product(
                product_id=str((number + 1) * 1_000_000 + rank * 137 + rng.randrange(137)),
                category_id=category_id,
                category_code=category.code or "",
                brand=brand,
                price="0.00" if free else f"{price:.2f}",
                appeal=APPEAL.get(brand, 1.0),
            )
        )
    return products
