"""How a shop's export says what an event says: a mapping file, in YAML, and its use on columns of text."""

import re
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import polars as pl
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from simulator.traffic.event import FIELDS, NOTHING, REQUIRED
from simulator.traffic.inputs import SourceError

SHIPPED = Path(__file__).parents[1] / "mappings"
UNITS = {"unix_s": 1_000, "unix_ms": 1, "unix_us": 1}
LEFT_OUT = "\x1e"  # before the word of an event type that the mapping leaves out; no text holds it
HASHED = 32  # hex characters of a SHA-256: 128 bits


def _texts(value: Any) -> Any:
    """Return what YAML reads as a number or a truth value as the text that it stands for."""
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_texts)]


class Joined(BaseModel):
    """A value made of several columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    join: list[Text] = Field(min_length=2)
    by: str = "."


Column = Text | list[Text] | Joined


class Numbers(BaseModel):
    """How prices and quantities are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", "'", " ", ""] = ""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; give two that differ")
        return self


class Times(BaseModel):
    """How times are written: `auto`, Unix time in one of three units, or a format as of strftime."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: str = "auto"
    zone: str = "UTC"  # of times that do not name their own

    @model_validator(mode="after")
    def _exist(self) -> Self:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"zone {self.zone!r} is not known; give one such as Europe/Berlin") from None
        if self.format not in ("auto", *UNITS) and "%" not in self.format:
            raise ValueError(
                f"format {self.format!r} is none of auto, {', '.join(UNITS)}, or such as %d.%m.%Y %H:%M:%S"
            )
        return self


class Mapping(BaseModel):
    """A shop's export. Columns that it does not name are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str = ""
    form: Literal["auto", "csv", "jsonl", "parquet"] = "auto"
    encoding: str = "auto"
    delimiter: str = "auto"
    header: list[Text] | None = None  # of a file that has none
    columns: dict[str, Column] = {}
    constants: dict[str, Text] = {}
    time: Times = Times()
    numbers: Numbers = Numbers()
    event_types: dict[Text, str | None] = {}  # the shop's word: ours, or null to leave such rows out
    nulls: list[Text] = list(NOTHING)
    nobody: list[Text] = []  # user ids that stand for all who are not known
    hashed: list[str] = []  # fields of which only a hash is sent

    @model_validator(mode="after")
    def _fit(self) -> Self:
        named = [*self.columns, *self.constants]
        if unknown := [name for name in [*named, *self.hashed] if name not in FIELDS]:
            raise ValueError(f"{unknown[0]!r} is no field; allowed are {', '.join(FIELDS)}")
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"{twice[0]} is a column and a constant; give one of them")
        if missing := [name for name in REQUIRED if name not in named]:
            raise ValueError(f"{missing[0]} is missing; name its column, or a constant")
        if wrong := [name for name in self.hashed if FIELDS[name] not in ("id", "text")]:
            raise ValueError(f"{wrong[0]} cannot be hashed; only ids and texts can")
        if self.delimiter != "auto" and len(self.delimiter) != 1:
            raise ValueError(f"delimiter {self.delimiter!r} is not allowed; give one character")
        return self

    @property
    def source_columns(self) -> list[str]:
        """The file's columns that are read, each once."""
        names = [name for column in self.columns.values() for name in names_of(column)]
        return list(dict.fromkeys(names))


def read(name: str) -> Mapping:
    """Return a mapping of a file, or one that ships with the project by its name. Raise SourceError."""
    path = SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    try:
        return Mapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SourceError(
            f"--mapping {name}: {error.strerror}; give a file, or one of {', '.join(shipped())}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SourceError(f"--mapping {name}: no YAML: {error}; docs/files.md shows one") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        message = first["msg"].removeprefix("Value error, ")
        raise SourceError(f"--mapping {name}: {place}: {message}; docs/files.md shows one") from error


def shipped() -> list[str]:
    """Return the names of the mappings that ship with the project."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def identity(columns: Sequence[str]) -> Mapping:
    """Return the mapping of a file whose columns have the contract's names."""
    return Mapping(columns={name: name for name in FIELDS if name in columns})


def apply(mapping: Mapping, raw: pl.DataFrame) -> pl.DataFrame:
    """Return a column of texts for each field of the mapping, null for none, with times in UTC as on the wire.

    `raw` has the mapping's source columns as texts. What cannot be read stays as it is, for `event.parse` to refuse. A
    row that the mapping leaves out has LEFT_OUT and the shop's word as its event type.
    """
    nothing = ["", *mapping.nulls]
    texts = raw.select(pl.col(name).replace(nothing, [None] * len(nothing)) for name in raw.columns)
    fields: dict[str, pl.Expr] = {name: _value(column) for name, column in mapping.columns.items()}
    fields |= {name: pl.lit(text) for name, text in mapping.constants.items()}
    cells = texts.select(fields[name].alias(name) for name in FIELDS if name in fields)
    if cells.height != raw.height:  # constants alone
        cells = pl.concat([cells] * raw.height)
    changed = [_read(mapping, name, cells[name]) for name in cells.columns]
    return cells.with_columns(one for one in changed if one is not None)


def _read(mapping: Mapping, name: str, cell: pl.Series) -> pl.Series | None:
    """Return the field's values as the contract has them; None if they are the same."""
    kind = FIELDS[name]
    value: pl.Series | None = None
    if kind == "time":
        value = _times(cell, mapping.time)
    elif kind in ("price", "quantity"):
        value = _numbers(cell, mapping.numbers, whole=kind == "quantity")
    elif name == "event_type" and mapping.event_types:
        words = {word: LEFT_OUT + word if ours is None else ours for word, ours in mapping.event_types.items()}
        value = cell.replace(list(words), list(words.values()))
    elif name == "user_id" and mapping.nobody:
        value = cell.replace(mapping.nobody, [None] * len(mapping.nobody))
    if name in mapping.hashed:
        value = _hashed(cell if value is None else value)
    return value if value is None else value.alias(name)


def names_of(column: Column) -> list[str]:
    """Return the names of the source columns that a field is made of."""
    if isinstance(column, Joined):
        return column.join
    return column if isinstance(column, list) else [column]


def _value(column: Column) -> pl.Expr:
    names = names_of(column)
    if isinstance(column, Joined):
        return pl.concat_str(names, separator=column.by)  # null if one of them is
    return pl.coalesce(names)


def _times(cell: pl.Series, times: Times) -> pl.Series:
    """Return times as on the wire, in UTC; as they are where they cannot be read."""
    # A file in time order repeats its times, and others repeat them apart: each is read once.
    different = cell.unique()
    if times.format == "auto":
        read = _auto(different, times.zone)
    elif times.format in UNITS:
        # A float's text too: pandas writes whole numbers so where some are missing.
        number = different.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
        ms = number // 1000 if times.format == "unix_us" else number * UNITS[times.format]
        if times.format == "unix_s":
            fraction = different.str.extract(r"\.(\d{1,3})\d*$").str.pad_end(3, "0").cast(pl.Int64, strict=False)
            ms = different.str.replace(r"\.\d*$", "").cast(pl.Int64, strict=False) * 1000 + fraction.fill_null(0)
        read = ms.cast(pl.Datetime("ms"))
    elif "%z" in times.format or "%:z" in times.format:
        read = different.str.to_datetime(times.format, time_unit="ms", time_zone="UTC", strict=False)
        read = read.dt.replace_time_zone(None)
    else:
        read = _in_utc(different.str.to_datetime(times.format, time_unit="ms", strict=False), times.zone)
    wire = pl.DataFrame({"text": different, "wire": read}).select(
        "text", pl.coalesce(pl.col("wire").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ"), "text").alias("wire")
    )
    return cell.to_frame("text").join(wire, on="text", how="left", maintain_order="left")["wire"]


_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")
_LOCAL = r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)"


def _auto(text: pl.Series, zone: str) -> pl.Series:
    """Return the times of ISO 8601 and its relatives, `2020-01-01 10:00:04.059 UTC`; null where a text is none."""
    frame = text.to_frame("text").select(
        clock=pl.col("text").str.extract(_LOCAL, 1) + "T" + pl.col("text").str.extract(_LOCAL, 2),
        offset=pl.col("text").str.replace(_LOCAL, "").str.strip_chars(),
    )
    clock = pl.coalesce(
        pl.col("clock").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ms", strict=False),
        pl.col("clock").str.to_datetime("%Y-%m-%dT%H:%M", time_unit="ms", strict=False),
    )
    signed = r"^([+-])(\d{2}):?(\d{2})?$"
    minutes = pl.col("offset").str.extract(signed, 2).cast(pl.Int64) * 60 + pl.col("offset").str.extract(
        signed, 3
    ).cast(pl.Int64).fill_null(0)
    shift = pl.when(pl.col("offset").str.starts_with("-")).then(-minutes).otherwise(minutes)
    frame = frame.select(
        "offset",
        clock=clock,
        shifted=clock - pl.duration(minutes=shift),
    )
    local = _in_utc(frame["clock"], zone)
    return frame.select(
        pl.when(pl.col("offset").is_in(["Z", "UTC", "GMT"]))
        .then("clock")
        .when(pl.col("offset").str.contains(signed))
        .then("shifted")
        .when(pl.col("offset") == "")
        .then(local)
    ).to_series()


def _in_utc(local: pl.Series, zone: str) -> pl.Series:
    """Return local times in UTC: the first of an hour that comes twice, null in one that the clocks skip."""
    if zone == "UTC":
        return local
    known = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return known.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


# A number with the sign or the code of a currency before or after it: `1.234,50 €`, `US$ 7`, `7 kr.`
_CURRENCY = r"(?:\p{L}{1,3}\.?\s*)?\p{Sc}?"
_NUMBER = rf"^\s*{_CURRENCY}\s*([-+]?(?:[\d.,'\s]*\d|\d*\.\d+))\s*{_CURRENCY}\s*$"


def _numbers(cell: pl.Series, numbers: Numbers, whole: bool) -> pl.Series:
    """Return numbers with a decimal point: without currency signs and codes around them, and without thousands."""
    plain = pl.select(pl.coalesce(pl.lit(cell).str.extract(_NUMBER), pl.lit(cell))).to_series()
    if numbers.thousands == " ":
        plain = plain.str.replace_all(r"[\s\u{00A0}\u{202F}]", "")
    elif numbers.thousands:
        plain = plain.str.replace_all(numbers.thousands, "", literal=True)
    if numbers.decimal == ",":
        plain = plain.str.replace_all(",", ".", literal=True)
    return plain.str.replace(r"\.0+$", "") if whole else plain


def _hashed(cell: pl.Series) -> pl.Series:
    return cell.map_elements(lambda text: sha256(text.encode()).hexdigest()[:HASHED], pl.String)


def draft(columns: Sequence[str], rows: Sequence[Dictionary[str, str]]) -> dict[str, Any]:
    """Return a mapping to start from, as YAML would have it: guessed of the names of columns and of some rows."""
    found: dict[str, Any] = {}
    taken: set[str] = set()
    for field, words in GUESSES.items():
        for word in words:
            match = next((name for name in columns if _bare(name) == word and name not in taken), None)
            if match:
                found[field] = match
                taken.add(match)
                break
    for name in columns:  # what it is called says nothing, but what is in it may
        values = [row[name] for row in rows if row.get(name)]
        if not values or name in taken:
            continue
        if "event_time" not in found and (
            all(_ISO.match(one) for one in values) or _time_format(values[:20]) != "auto"
        ):
            found["event_time"] = name
        elif "event_type" not in found and {*map(_bare, values)} & {*WORDS}:
            found["event_type"] = name
    mapping: dict[str, Any] = {"columns": {name: found[name] for name in FIELDS if name in found}}
    if "event_type" not in found:
        mapping["constants"] = {"event_type": "purchase" if "order_id" in found else "view"}
    if time := found.get("event_time"):
        values = [row[time] for row in rows if row.get(time)]
        if (format_ := _time_format(values)) != "auto":
            mapping["time"] = {"format": format_}
    if kind := found.get("event_type"):
        words = sorted({row[kind] for row in rows if row.get(kind)})
        ours = {word: WORDS.get(_bare(word), word) for word in words[:20]}
        if any(word != our for word, our in ours.items()):
            mapping["event_types"] = ours
    if (price := found.get("price")) and any("," in row.get(price, "") for row in rows):
        mapping["numbers"] = {"decimal": ",", "thousands": "."}
    return mapping


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _time_format(values: Sequence[str]) -> str:
    if values and all(value.removesuffix(".0").isdecimal() for value in values):
        digits = len(values[0].removesuffix(".0"))
        return "unix_s" if digits <= 11 else "unix_ms" if digits <= 14 else "unix_us"
    for one in ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
                "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y%m%d%H%M%S", "%d.%m.%Y", "%Y-%m-%d", "%Y%m%d"):  # fmt: skip
        if values and all(_reads(value, one) for value in values):
            return one
    return "auto"


def _reads(value: str, format_: str) -> bool:
    try:
        datetime.strptime(value, format_).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


# What columns are called, in the order of likelihood: letters and digits only.
GUESSES: dict[str, Sequence[str]] = {
    "event_time": ("eventtime", "eventtimestamp", "timestamp", "time", "datetime", "createdat", "occurredat",
                   "orderdate", "date", "ts", "zeit", "datum"),
    "event_type": ("eventtype", "eventname", "event", "type", "action", "behavior", "behaviortype", "activity"),
    "product_id": ("productid", "itemid", "product", "item", "sku", "lineitemsku", "articleid", "produktid",
                   "artikel", "artikelnummer"),
    "category_id": ("categoryid", "kategorieid"),
    "category_code": ("categorycode", "category", "itemcategory", "kategorie"),
    "brand": ("brand", "itembrand", "vendor", "marke", "manufacturer"),
    "price": ("price", "itemprice", "unitprice", "lineitemprice", "itemcost", "preis", "amount"),
    "user_id": ("userid", "visitorid", "customerid", "userpseudoid", "clientid", "user", "kunde", "email"),
    "user_session": ("usersession", "sessionid", "session", "gasessionid", "visitid", "sitzung"),
    "event_id": ("eventid",),
    "order_id": ("orderid", "transactionid", "ordernumber", "ordername", "bestellnummer"),
    "quantity": ("quantity", "qty", "lineitemquantity", "menge"),
    "currency": ("currency", "waehrung"),
    "client_ip": ("clientip", "ip", "ipaddress", "browserip"),
    "user_agent": ("useragent",),
    "page_url": ("pageurl", "url", "pagelocation"),
    "referrer": ("referrer", "referer", "pagereferrer"),
}  # fmt: skip
# What shops call the four types that the rules know.
WORDS = {
    "view": "view", "viewitem": "view", "productview": "view", "pageview": "view", "pv": "view", "click": "view",
    "cart": "cart", "addtocart": "cart", "atc": "cart", "add": "cart", "removefromcart": "remove_from_cart",
    "remove": "remove_from_cart", "purchase": "purchase", "transaction": "purchase", "buy": "purchase",
    "order": "purchase", "checkout": "purchase", "ansicht": "view", "warenkorb": "cart", "kauf": "purchase",
}  # fmt: skip
