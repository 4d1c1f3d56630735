"""The colours of an environment, from the theme of its Airflow, as variables of a style sheet."""

import re

from gitops.text import json_values

SHADES = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950)
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|(?:oklch|oklab|rgb|hsl)\([0-9a-z.%/, +-]+\)")

# Lightness of slate, the default without a theme
_LIGHTNESS = (0.984, 0.968, 0.929, 0.869, 0.704, 0.554, 0.446, 0.372, 0.279, 0.208, 0.129)


def css(theme: object) -> str:
    """Return a style sheet that sets `--brand-50` to `--brand-950`. Invalid colours are replaced by slate.

    Args:
        theme: The value of Airflow's option `[api] theme`.

    """
    brand = json_values.at(theme, ("tokens", "colors", "brand"))
    lines: list[str] = []
    for shade, lightness in zip(SHADES, _LIGHTNESS, strict=True):
        value = json_values.text(json_values.at(brand, (str(shade), "value")))
        fits = value is not None and _COLOUR.fullmatch(value)
        lines.append(f"  --brand-{shade}: {value if fits else f'oklch({lightness} 0.04 257)'};")
    return ":root {\n" + "\n".join(lines) + "\n}\n"
