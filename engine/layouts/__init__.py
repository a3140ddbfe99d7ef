"""The layouts of loan files that are read, by name."""

from engine.errors import TapeFileError
from engine.layouts import esma, fannie_mae, freddie_mac, lending_club, sec_abs
from engine.layouts.declaration import Layout

ALL: tuple[Layout, ...] = (
    *fannie_mae.LAYOUTS, *freddie_mac.LAYOUTS, *lending_club.LAYOUTS, *sec_abs.LAYOUTS, *esma.LAYOUTS
)  # fmt: skip
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in ALL}


def layout_named(name: str) -> Layout:
    """The layout of a name. Raises TapeFileError for a name that is none."""
    if name not in LAYOUTS:
        raise TapeFileError(f"layout is '{name}'; expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
