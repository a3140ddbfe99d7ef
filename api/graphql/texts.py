"""Descriptions of the engine's Structs and their fields, read from the docstrings of the Structs.

A docstring has a first paragraph on the whole, then sentences on fields: `name: text` or `name, other: text`.
"""

import re

import msgspec
from msgspec import inspect

from engine.assets import LOAN_TYPES
from engine.tape import Columns

# Sentences on fields start the paragraphs or follow the end of a sentence.
ENTRY = re.compile(r"(?:(?<=\. )|(?<=\.\) )|^)(\w+(?:, \w+)*): ")
# Structs whose fields are those of another.
NAMED_AFTER: dict[type, tuple[type[msgspec.Struct], ...]] = {Columns: tuple(LOAN_TYPES.values())[::-1]}
# Fields that say what they are by their name in the engine, and that a list of types does not place.
PLAIN_WORDS = {
    "loan_id": "Id of the loan, which its line carries at loan level.",
    "group": "Group of the loan: level `group` sums by it, and `assumptions.groups` is keyed by it.",
    "column": "Output field whose cash is measured.",
    "opening_balance": "Performing balance at the cut-off, currency units.",
}


def describe(cls: type) -> str:
    """The docstring of a Struct, without its indents."""
    return "\n".join(line.strip() for line in (cls.__doc__ or cls.__name__).strip().splitlines())


def first_line(cls: type) -> str:
    return describe(cls).splitlines()[0]


def stated_texts(cls: type[msgspec.Struct]) -> dict[str, str]:
    """The texts that the docstring of a Struct states for fields by name."""
    _, _, rest = describe(cls).partition("\n\n")
    joined = " ".join(rest.split())
    entries = [found for found in ENTRY.finditer(joined) if set(found[1].split(", ")) <= set(cls.__struct_fields__)]
    ends = [found.start() for found in entries[1:]] + [len(joined)]
    return {
        name: joined[found.end() : end].strip()
        for found, end in zip(entries, ends, strict=False)
        for name in found[1].split(", ")
    }


def field_text(cls: type[msgspec.Struct], field: inspect.Field) -> str:
    """What a field is: as stated, else by its type, else as the Struct is described; then its default."""
    stated: dict[str, str] = {}
    for other in (*NAMED_AFTER.get(cls, ()), *cls.__mro__[::-1]):
        if issubclass(other, msgspec.Struct):
            stated |= stated_texts(other)
    text = stated.get(field.name) or PLAIN_WORDS.get(field.name) or type_text(field.type) or first_line(cls)
    return f"{text} {default_text(field)}".strip()


def field_texts(cls: type[msgspec.Struct]) -> dict[str, str]:
    """The text of every field of a Struct."""
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    return {field.name: field_text(cls, field) for field in kind.fields}


def type_text(kind: inspect.Type) -> str:
    """What a type says about the values: the choices of a Literal, the Structs it is made of, or nothing."""
    match kind:
        case inspect.LiteralType(values=values):
            return f"One of {', '.join(f'`{value}`' for value in values)}."
        case inspect.StructType(cls=cls):
            return first_line(cls)
        case inspect.ListType(item_type=item) | inspect.DictType(value_type=item):
            return type_text(item)
        case inspect.UnionType(types=members):
            structs = [member for member in members if isinstance(member, inspect.StructType)]
            if len(structs) > 1:
                return f"A curve by its type: {', '.join(f'`{member.tag}`' for member in structs)}."
            return next(filter(None, map(type_text, members)), "")
    return ""


def default_text(field: inspect.Field) -> str:
    if field.required or field.default is msgspec.NODEFAULT or field.default is None:
        return ""
    return f"{field.default!r} by default.".replace("'", "`")


def choices_text(cls: type[msgspec.Struct]) -> str:
    """A list of the fields of a Struct of Literals: the choices of each, and what they mean."""
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    lines = []
    for field in kind.fields:
        choices = type_text(field.type)
        text = field_text(cls, field)
        lines.append(f"- `{field.name}`: {text if text.startswith(choices) else f'{choices} {text}'}")
    return "\n".join(lines)
