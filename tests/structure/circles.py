"""Keeps files that import each other in a circle out of every crate, and prints figures of the code that is not tests.

An arrow leads from a file to the file that defines what it names: by `use`, or by a path in the code. Re-exports are followed;
one that its own file does not use is no arrow. Declaring a module is none either; a parent that takes something from its child,
while the child takes something that the parent defines, is a circle of two. Method calls are not seen.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CRATES = {"greyhound": "src", **{f"greyhound-{it}": f"plugins/{it}/src" for it in ("sdk", "messaging", "activity")}}
ITEM = r"(?:fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)"
DEFINED = re.compile(rf"(?:unsafe |async |extern \"\" )*{ITEM}\s+(?:mut\s+)?(\w+)")
PATH = re.compile(r"(?<![\w:.'$])(\w+(?:::\w+)+)")


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def code_of(text):
    """The code without comments, literals and what is compiled for tests alone; every line stays where it is."""
    literal = r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\\n])\''
    text = re.sub(literal, lambda it: blank(it[0]), text, flags=re.S)
    for test in reversed(list(re.finditer(r"#\[cfg\(test\)\]", text))):
        end = end_of_item(text, test.end())
        text = text[: test.start()] + blank(text[test.start() : end]) + text[end:]
    return text


def end_of_item(text, at):
    """After the `;` or the braces that end the item, field or arm that begins at `at`."""
    depth = 0
    for here in range(at, len(text)):
        letter = text[here]
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0 or (depth == 0 and letter in ";,"):
            return here
        if depth == 0 and letter == "}":
            return here + 1
    return len(text)


class Module:
    def __init__(self, file, code, name, parent):
        self.file, self.name, self.parent, self.children = file, name, parent, {}
        self.defined, self.aliases, self.globs = set(), {}, []
        self.code = code

    def root(self):
        return self.parent.root() if self.parent else self


def load(file, name, parent, children_in):
    module = Module(file, code_of(file.read_text()), name, parent)
    fill(module, children_in)
    return module


def fill(module, children_in):
    """Reads what a module declares; `children_in` is the directory of its modules' files."""
    for inline in reversed(list(re.finditer(r"\bmod\s+(\w+)\s*\{", module.code))):
        end = end_of_item(module.code, inline.end() - 1)
        child = Module(module.file, module.code[inline.end() : end - 1], inline[1], module)
        module.code = module.code[: inline.start()] + blank(module.code[inline.start() : end]) + module.code[end:]
        module.children[inline[1]] = child
        fill(child, children_in / inline[1])
    for name in re.findall(r"\bmod\s+(\w+)\s*;", module.code):
        file = next(f for f in (children_in / f"{name}.rs", children_in / name / "mod.rs") if f.exists())
        module.children[name] = load(file, name, module, children_in / name)
    depth = 0
    for line in module.code.splitlines():
        item = DEFINED.match(re.sub(r"^\s*(pub(\([^)]*\))?\s+)?", "", line)) if depth == 0 else None
        module.defined |= {item[1]} if item and item[1] not in module.children else set()
        depth += line.count("{") - line.count("}")
    for use in re.finditer(r"(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);", module.code):
        for path, alias in use_tree(re.sub(r"\s+", " ", use[2])):
            if alias == "*":
                module.globs.append(path)
            else:
                module.aliases[alias] = (path, bool(use[1]))
    module.code = re.sub(r"\buse\s+[^;]+;", lambda it: blank(it[0]), module.code)


def use_tree(tree, before=()):
    """The paths of a `use`, each with the name that it is bound to."""
    tree = tree.strip()
    group = re.fullmatch(r"(.*?)\{(.*)\}", tree, re.S)
    if group:
        before += tuple(filter(None, group[1].strip().split("::")))
        depth, part, parts = 0, "", []
        for letter in group[2] + ",":
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                parts.append(part)
                part = ""
            else:
                part += letter
        for part in filter(str.strip, parts):
            yield from use_tree(part, before)
        return
    path, _, alias = tree.partition(" as ")
    path = before + tuple(path.strip().split("::"))
    if path[-1] == "self":
        path = path[:-1]
    yield (path[:-1], "*") if path[-1] == "*" else (path, alias.strip() or path[-1])


def resolve(module, path, seen=frozenset()):
    """The file that defines what a path begins with, and whether all of it is a module; none for what other crates define."""
    here, first = module, path[0]
    if first == "crate":
        here, path = module.root(), path[1:]
    elif first in ("self", "super"):
        while path and path[0] in ("self", "super"):
            here, path = (here.parent if path[0] == "super" else here), path[1:]
    elif first not in module.children and first not in module.aliases:
        return None
    for at, name in enumerate(path):
        if name in here.children:
            here = here.children[name]
        elif name in here.defined:
            return here.file, False
        elif (here, name) in seen:
            return None
        elif name in here.aliases:
            return resolve(here, here.aliases[name][0] + path[at + 1 :], seen | {(here, name)})
        else:
            globs = (resolve(here, glob + path[at:], seen | {(here, name)}) for glob in here.globs)
            return next((found for found in globs if found), None)
    return here.file, True


def arrows(module):
    """The files that a module's code names something of, and what."""
    for name, (path, is_public) in module.aliases.items():
        found = resolve(module, path)
        # A function that is only handed on may share its name with a variable.
        used = rf"\b{name}\b" if name[0].isupper() else rf"\b{name}\s*(\(|::)"
        if found and not found[1] and (not is_public or re.search(used, module.code)):
            yield found[0], "::".join(path)
    for path in set(PATH.findall(module.code)):
        found = resolve(module, tuple(path.split("::")))
        if found and not found[1]:
            yield found[0], path
    for child in module.children.values():
        if child.file == module.file:
            yield from arrows(child)


def modules(module):
    yield module
    for child in module.children.values():
        yield from modules(child)


def circles(graph):
    """The sets of files that reach each other."""
    def reached(file, found):
        for other in graph.get(file, {}):
            if other not in found:
                found.add(other)
                reached(other, found)
        return found

    reach = {file: reached(file, set()) for file in graph}
    return {frozenset(o for o in reach[file] if file in reach.get(o, ())) for file in graph if file in reach[file]}


def figures(files):
    lengths, unwraps, lines, public, documented = [], 0, 0, 0, 0
    for file in files:
        text, code = file.read_text().splitlines(), code_of(file.read_text())
        for function in re.finditer(r"^[^\S\n]*(?:pub(?:\([^)]*\))? )?(?:(?:const|async|unsafe) )*fn \w+", code, re.M):
            end = end_of_item(code, function.end())
            if code[end - 1] == "}":
                lengths.append(code.count("\n", function.start(), end) + 1)
        unwraps += code.count(".unwrap()")
        lines += sum(1 for line in code.splitlines() if line.strip())
        for at, line in enumerate(code.splitlines()):
            if re.match(rf"\s*pub (?:(?:const|async|unsafe) )*{ITEM}\b", line) and not re.match(r"\s*pub mod \w+;", line):
                above = at - 1
                while re.match(r"\s*#\[|\s*\)?\]|\s{8,}\S", text[above]) and not re.match(r"\s*///", text[above]):
                    above -= 1
                public, documented = public + 1, documented + text[above].lstrip().startswith("///")
    lengths.sort()
    share = lambda of: lengths[int(of * (len(lengths) - 1))]
    return (f"{lines} lines; functions p90 {share(0.9)}, p99 {share(0.99)}, max {lengths[-1]} lines; "
            f"{1000 * unwraps / lines:.1f} unwraps per 1,000 lines; {100 * documented // max(public, 1)}% of pub items documented")


def main():
    failed = False
    for crate, source in CRATES.items():
        graph, files = {}, set()
        for root in ("lib.rs", "main.rs"):
            if (ROOT / source / root).exists():
                for module in modules(load(ROOT / source / root, "crate", None, ROOT / source)):
                    files.add(module.file)
                    for file, name in arrows(module):
                        if file != module.file:
                            graph.setdefault(module.file, {}).setdefault(file, set()).add(name)
        print(f"{crate}: {len(files)} files, {figures(files)}")
        for circle in sorted(circles(graph), key=sorted):
            failed = True
            print(f"  {len(circle)} files import each other in a circle; move what they share to a file that imports none of them:")
            for file in sorted(circle):
                for other in sorted(graph[file].keys() & circle):
                    print(f"    {file.relative_to(ROOT)} -> {other.relative_to(ROOT)}: {', '.join(sorted(graph[file][other]))}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
