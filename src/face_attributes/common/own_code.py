"""The code that runs is that of the checkout in which somebody works.

A virtual environment knows the code of one checkout. In another one (a worktree, a second clone, an
experiment in the queue of DVC) the stages would run the code of the first, and `dvc.lock` would record that
of the other.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

_PACKAGES = ("drawn_faces", "face_attributes")
_PROGRAM = Path("src/face_attributes/__main__.py")


def start_own_code() -> None:
    """Run the command line with the code of the checkout around this folder and exit, if this is other code.

    Only the folder itself counts where `PYTHONPATH` names the code: a release that an engine runs may lie in
    the checkout of its user.
    """
    here = Path.cwd()
    around = () if "PYTHONPATH" in os.environ else here.parents
    program = next((folder / _PROGRAM for folder in (here, *around) if (folder / _PROGRAM).is_file()), None)
    if program is None or program.samefile(Path(__file__).parents[1] / _PROGRAM.name):
        return
    source = str(program.parents[1])
    sys.path.insert(0, source)
    # For the processes that a command starts
    os.environ["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]
    import_module("face_attributes.cli").main()
    sys.exit()
