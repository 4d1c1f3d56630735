"""The colours of the environment, from `[api] theme`, as variables of the style sheet."""

from airflow.configuration import conf

from gitops.text import brand

SHADES = brand.SHADES


def css() -> str:
    """Return a style sheet that sets `--brand-50` to `--brand-950`. Invalid colours are replaced by slate."""
    return brand.css(conf.getjson("api", "theme", fallback={}))
