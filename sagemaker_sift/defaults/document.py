"""A YAML file as values that know their lines.

PyYAML's own loader drops the lines and lets the last of two equal keys win silently. Here the
parsed nodes are read instead. Texts of the file never get into an error by way of PyYAML, whose
messages quote whole lines: they may hold secrets.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import yaml

from sagemaker_sift.defaults.located import Finding, Located
from sagemaker_sift.exceptions import ConfigurationError

_MAPPING = "tag:yaml.org,2002:map"
_SEQUENCE = "tag:yaml.org,2002:seq"
_MERGE = "tag:yaml.org,2002:merge"
_NO_SUCH_VALUE = (
    ValueError,
    OverflowError,
    LookupError,
    AttributeError,
    TypeError,
    yaml.YAMLError,
)
"""What PyYAML raises for a scalar whose form or tag promises what its text does not hold."""


def read_document(content: bytes, file: str) -> tuple[Located, list[Finding]]:
    """Return the content of a YAML file, and what is wrong with its keys and values as YAML.

    Args:
        content: UTF-8, with or without a byte order mark.
        file: Its name, for errors.

    Raises:
        ConfigurationError: If it is not YAML at all.
    """
    text = _decode(content, file)
    loader = yaml.SafeLoader("")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return Located(None, 1), []
        reader = _NodeReader(loader)
        return reader.read(root), reader.findings
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"contains the character U+{error.character:04X}, which YAML does not allow."
        raise ConfigurationError(what, file=file, line=line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = mark.line + 1 if mark else None
        context = f"{error.context}: " if error.context else ""
        what = f"is not valid YAML: {context}{error.problem}."
        raise ConfigurationError(what, file=file, line=place) from None
    except (ValueError, OverflowError):
        what = "is not valid YAML: a number or character code in it is out of range."
        raise ConfigurationError(what, file=file) from None
    except RecursionError:
        raise ConfigurationError("is nested too deeply to be read.", file=file) from None
    finally:
        loader.dispose()


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = "is not UTF-8 text. Save it as UTF-8."
        raise ConfigurationError(what, file=file, line=line) from None


class _NodeReader:
    """Reads nodes into values; a node that several aliases name is read once."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.findings: list[Finding] = []
        self._loader = loader
        self._done: dict[int, Located | None] = {}

    def read(self, node: yaml.Node) -> Located:
        """Return the value of a node; what cannot be read becomes a finding."""
        line = node.start_mark.line + 1
        if id(node) in self._done:
            known = self._done[id(node)]
            return known or self._refuse(line, "", "contains itself, by an alias.")
        self._done[id(node)] = None
        located = self._done[id(node)] = self._read_value(node, line)
        return located

    def _refuse(self, line: int, path: str, message: str) -> Located:
        self.findings.append(Finding(line, path, message))
        return Located(None, line, is_refused=True)

    def _read_value(self, node: yaml.Node, line: int) -> Located:
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
            return Located(self._read_mapping(node), line)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return Located([self.read(item) for item in node.value], line)
        if isinstance(node, yaml.ScalarNode):
            return self._read_scalar(node, line)
        return self._refuse(line, "", f"has the tag {node.tag!r}, which is not read.")

    def _read_scalar(self, node: yaml.ScalarNode, line: int) -> Located:
        try:
            value = self._loader.construct_object(node)
            if isinstance(value, str):
                value.encode()
            is_scalar = not isinstance(value, (dict, list, set))
        except _NO_SUCH_VALUE:
            is_scalar = False
        if is_scalar:
            return Located(value, line)
        kind = node.tag.rpartition(":")[2]
        return self._refuse(line, "", f"holds a value that is no {kind}, as its form says it is.")

    def _read_mapping(self, node: yaml.MappingNode) -> dict[Hashable, Located]:
        entries: dict[Hashable, Located] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                merged.append(value_node)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(line, "", "has a list or mapping where a key must stand.")
                continue
            key, value = self._read_scalar(key_node, line).value, self.read(value_node)
            if key in entries:
                first = entries[key].line
                message = f"stands twice; it is also on line {first}."
                self._refuse(line, str(key_node.value), message)
            else:
                entries[key] = Located(value.value, line, is_refused=value.is_refused)
        for source in merged:
            for key, value in self._read_merged(source):
                entries.setdefault(key, value)
        return entries

    def _read_merged(self, node: yaml.Node) -> Iterator[tuple[Hashable, Located]]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            located = self.read(source)
            if isinstance(located.value, Mapping):
                yield from located.value.items()
            elif not located.is_refused:
                self._refuse(source.start_mark.line + 1, "<<", "must name a mapping.")
