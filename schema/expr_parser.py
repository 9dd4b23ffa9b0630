"""Text -> tree: a recursive descent over the characters, with the place of each fault."""

from __future__ import annotations

import re
from collections.abc import Container

from f2yaml.schema.expr_compare import MOMENT, NUMBER, read_moment, read_number
from f2yaml.schema.expr_reader import IDENTIFIER, Reader
from f2yaml.schema.expr_tree import (
    And,
    Compare,
    Count,
    Expr,
    IsNone,
    ListOf,
    Literal,
    Name,
    Not,
    Operand,
    Or,
    Param,
    Truth,
)
from f2yaml.schema.problems import Place, RequestError
from f2yaml.schema.text import printable

MAX_LENGTH = 4096
"""Longest expression accepted, in characters."""

MAX_DEPTH = 50
"""Deepest nesting of parentheses and negations."""

_HEADER = re.compile(r"(?:phu|hdr)\.[A-Za-z0-9_-]+|tag\.[A-Za-z0-9_]+")
_OPENING = re.compile(r"[ \t\r\n]*\(")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([\\'\"]))")
_OPERATOR = re.compile(r"==|!=|<=|>=|=|<|>|~")
_ORDERING = ("<", "<=", ">", ">=")
_KEYWORDS = frozenset({"and", "or", "not", "in", "is"})
_CONSTANTS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "none": None,
    "None": None,
}
_OLD_KEYWORD = re.compile(
    r"ad\.(phu|hdr)(?:\.get\(\s*(?:'([\w-]+)'|\"([\w-]+)\")\s*\)"
    r"|\[\s*(?:'([\w-]+)'|\"([\w-]+)\")\s*\])",
    re.ASCII,
)
_OLD_DESCRIPTOR = re.compile(r"ad\.([a-z_][a-z0-9_]*)\(\s*\)")
_TAG_SET = re.compile(r"(?:ad\.)?tags\b")
_NO_PROGRAM = "an expression is compared, never run as a program: names, values and operators only"


def parse(text: str, *, where: Place | None = None, known: Container[str] = frozenset()) -> Expr:
    """Return the tree of an expression.

    Parameters
    ----------
    text : str
    where : Place, optional
        Where the text stands in a document; without it messages show the text itself.
    known : container of str
        Names that stay names to the right of an operator, where a word is else plain text.

    Returns
    -------
    Expr

    Raises
    ------
    RequestError
        The text is not an expression; the message points at the character.
    """
    return _Parser(text, where, known).parse()


class _Parser(Reader):
    def __init__(self, text: str, where: Place | None, known: Container[str]) -> None:
        super().__init__(text, where)
        self.known = known
        self.depth = 0

    def parse(self) -> Expr:
        if len(self.text) > MAX_LENGTH:
            raise self.fault(
                f"the expression has {len(self.text)} characters",
                f"more than {MAX_LENGTH} are refused",
                "use `in [..]` or a pattern (`~`) in place of many comparisons",
                0,
            )
        self.blanks()
        if self.at == len(self.text):
            raise self.fault(
                "the expression is empty", "nothing can be decided", "write a comparison"
            )
        expr = self.disjunction()
        self.blanks()
        if self.at < len(self.text):
            raise self.left_over()
        return expr

    def left_over(self) -> RequestError:
        """Return the error about text after a complete term."""
        rest = self.text[self.at :]
        word = self.next_word() or rest[0]
        if word in ("&&", "&"):
            fix = "write `and`"
        elif word in ("||", "|"):
            fix = "write `or`"
        elif rest.startswith("("):
            return self.fault(
                "only `count` can be called", _NO_PROGRAM, "write a name or quoted text"
            )
        elif word.lower() in _KEYWORDS:
            fix = f"write `{word.lower()}`" if word != word.lower() else "finish the term before it"
        else:
            fix = "join terms with `and` or `or`; quote text that contains blanks"
        return self.fault(
            f"`{printable(word)}` is not expected here",
            "the expression was complete before it",
            fix,
            width=len(word),
        )

    def disjunction(self) -> Expr:
        parts = [self.conjunction()]
        while self.keyword("or"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self) -> Expr:
        parts = [self.negation()]
        while self.keyword("and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(
                f"more than {MAX_DEPTH} parentheses or negations inside each other",
                "such an expression cannot be read",
                "simplify it",
            )

    def negation(self) -> Expr:
        if not self.keyword("not"):
            return self.comparison()
        self.deeper()
        part = self.negation()
        self.depth -= 1
        return Not(part)

    def comparison(self) -> Expr:
        self.blanks()
        start = self.at
        if self.char("("):
            expr = self.in_parentheses(start)
            self.blanks()
            if not (isinstance(expr, Truth) and _OPERATOR.match(self.text, self.at)):
                return expr
            return self.chain(expr.operand, start)
        left = self.operand(text_allowed=False)
        if self.keyword("is"):
            return self.is_none(left)
        if self.keyword("in"):
            return self.membership(left, start)
        before = self.at
        if self.keyword("not"):
            if self.keyword("in"):
                return Not(self.membership(left, start))
            self.at = before
        self.blanks()
        if _OPERATOR.match(self.text, self.at) is None:
            return self.truth(left, start)
        return self.chain(left, start)

    def in_parentheses(self, opening: int) -> Expr:
        self.deeper()
        expr = self.disjunction()
        if not self.char(")"):
            if self.at < len(self.text) and self.text[self.at] not in "[,":
                raise self.left_over()
            raise self.fault("a parenthesis is not closed", "`(` needs its `)`", "add `)`", opening)
        self.depth -= 1
        return expr

    def truth(self, operand: Operand, start: int) -> Expr:
        width = self.at - start
        if isinstance(operand, Literal) and isinstance(operand.value, bool):
            return Truth(operand)
        if isinstance(operand, Name | Param):
            return Truth(operand)
        raise self.fault(
            f"`{printable(self.text[start : self.at].strip())}` alone is neither true nor false",
            "an expression has to decide between yes and no",
            "compare it with something, as in `exposure_time == 5` or `count(main) > 0`",
            start,
            width,
        )

    def is_none(self, operand: Operand) -> Expr:
        negated = self.keyword("not")
        self.blanks()
        if not (self.keyword("none") or self.keyword("None")):
            raise self.fault(
                "`is` is followed by something else than `none`",
                "`is` only asks whether a value is missing",
                "write `is none` or `is not none`, and `==` to compare",
            )
        if isinstance(operand, Literal | ListOf | Count):
            raise self.fault(
                "a constant or a count is never missing",
                "`is none` asks whether a name has a value",
                "put a name before `is`",
            )
        return Not(IsNone(operand)) if negated else IsNone(operand)

    def membership(self, left: Operand, start: int) -> Expr:
        self.blanks()
        found = _TAG_SET.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
            return self.tag_membership(left, start)
        opening = self.at
        if not (self.text.startswith(("[", "("), self.at)):
            raise self.fault(
                "`in` is not followed by a list",
                "`in` asks whether a value is one of several",
                "write a list in brackets, as in `filter_name in [J, H]`",
            )
        right = self.bracketed()
        self.constant_check([left, right], opening)
        return Compare("in", left, right)

    def tag_membership(self, left: Operand, start: int) -> Expr:
        tag = (
            left.value if isinstance(left, Literal) else left.name if isinstance(left, Name) else 0
        )
        if not isinstance(tag, str) or not re.fullmatch(r"[A-Za-z0-9_]+", tag):
            raise self.fault(
                "what stands before `in tags` is not a tag",
                "tags are words such as DARK",
                "write `tag.DARK`",
                start,
            )
        return Truth(Name(f"tag.{tag}", start))

    def chain(self, left: Operand, start: int) -> Expr:
        parts: list[Expr] = []
        previous = ""
        while True:
            self.blanks()
            sign = _OPERATOR.match(self.text, self.at)
            if sign is None:
                break
            op = "==" if sign.group() == "=" else sign.group()
            if parts and not (op in _ORDERING and previous in _ORDERING):
                raise self.fault(
                    f"`{sign.group()}` follows a complete comparison",
                    "only < <= > >= can be chained, as in 1 < exposure_time <= 5",
                    "join comparisons with `and`; `&` counts as a letter of text",
                    width=len(sign.group()),
                )
            self.at = sign.end()
            self.blanks()
            right_start = self.at
            # after a constant a word can only be a name: 5 < exposure_time
            right = self.operand(text_allowed=not _constant(left))
            self.none_check(left, right, op, start, right_start)
            self.constant_check([left, right], start)
            parts.append(Compare(op, left, right))
            left, start, previous = right, right_start, op
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def none_check(self, left: Operand, right: Operand, op: str, start: int, at: int) -> None:
        for side, begin in ((left, start), (right, at)):
            if isinstance(side, Literal) and side.value is None:
                form = "is not none" if op == "!=" else "is none"
                raise self.fault(
                    "`none` cannot be compared",
                    "a comparison with a missing value is false, whatever the other side",
                    f"ask with `{form}`, or quote the word if text is meant",
                    begin,
                    4,
                )

    def constant_check(self, sides: list[Operand], at: int) -> None:
        if all(map(_constant, sides)):
            raise self.fault(
                "the comparison has a constant on each side",
                "it would be the same for every frame",
                "put a name on one side, without quotes",
                at,
                max(1, self.at - at),
            )

    def operand(self, *, text_allowed: bool) -> Operand:
        self.blanks()
        if self.at == len(self.text):
            raise self.fault(
                "something is missing at the end", "a value is expected", "add a value"
            )
        char = self.text[self.at]
        if char in "'\"":
            return self.quoted(char)
        if char == "$":
            return self.parameter()
        if char == "[":
            return self.bracketed()
        old = self.old_form()
        if old is not None:
            return old
        constant = self.moment() or self.number()
        return constant if constant is not None else self.word(text_allowed)

    def quoted(self, quote: str) -> Literal:
        start = self.at
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == quote:
                self.at += 1
                value = "".join(out)
                return Literal(value, value, True)
            if char == "\\":
                found = _ESCAPE.match(self.text, self.at)
                if found is not None:
                    out.append(chr(int(found[1], 16)) if found[1] else found[2])
                    self.at = found.end()
                    continue
            out.append(char)
            self.at += 1
        raise self.fault(
            "a quote is not closed", f"the text after {quote} has no end", f"add {quote}", start
        )

    def parameter(self) -> Param:
        found = IDENTIFIER.match(self.text, self.at + 1)
        if found is None:
            raise self.fault(
                "`$` is not followed by a name",
                "`$name` stands for a parameter of the recipe",
                "write it as `$name`, without braces",
            )
        start, self.at = self.at, found.end()
        return Param(found.group(), start)

    def bracketed(self) -> ListOf:
        start = self.at
        close = {"[": "]", "(": ")"}[self.text[self.at]]
        self.at += 1
        items: list[Operand] = []
        while not self.char(close):
            if items and not self.char(","):
                raise self.fault(
                    "a list is not closed",
                    "its elements are separated by commas and end with a bracket",
                    f"add a comma or `{close}`",
                    None if self.at < len(self.text) else start,
                )
            if items and self.char(close):
                break
            self.blanks()
            begin = self.at
            if self.text.startswith(("[", close), self.at):
                raise self.fault(
                    "a list holds no list", "its elements are values", "write one list"
                )
            item = self.operand(text_allowed=True)
            self.none_check(item, item, "==", begin, begin)
            items.append(item)
        if not items:
            raise self.fault(
                "the list is empty", "nothing is in an empty list", "add values", start, 2
            )
        return ListOf(tuple(items))

    def old_form(self) -> Name | None:
        start = self.at
        found = _OLD_KEYWORD.match(self.text, start)
        if found is not None:
            self.at = found.end()
            key = next(group for group in found.groups()[1:] if group)
            return Name(f"{found[1]}.{key}", start)
        found = _OLD_DESCRIPTOR.match(self.text, start)
        if found is not None:
            self.at = found.end()
            return Name(found[1], start)
        return None

    def moment(self) -> Literal | None:
        found = MOMENT.match(self.text, self.at)
        if found is None or not self.ends_at(found.end()):
            return None
        value = read_moment(found.group())
        if value is None:
            raise self.fault(
                f"`{found.group()}` is not a date or time",
                "a month, day, hour, minute or second is out of range",
                "write it as 2020-01-07 13:00:00",
                width=len(found.group()),
            )
        self.at = found.end()
        return Literal(value, found.group())

    def number(self) -> Literal | None:
        found = NUMBER.match(self.text, self.at)
        if found is None or not self.ends_at(found.end()):
            return None
        self.at = found.end()
        return Literal(read_number(found.group()), found.group())

    def word(self, text_allowed: bool) -> Operand:
        start, word = self.at, self.next_word()
        if not word or word in _KEYWORDS:
            shown = word or self.text[start]
            raise self.fault(
                f"`{printable(shown)}` stands where a value is expected",
                "an operator needs something on each side",
                "add a name or value before it",
                width=len(shown),
            )
        end = start + len(word)
        following = self.text[end : end + 1]
        if word == "count" and _OPENING.match(self.text, end):
            return self.count(end)
        if following in ("(", "["):
            what = "called" if following == "(" else "indexed"
            raise self.fault(
                f"`{printable(word)}` cannot be {what}",
                _NO_PROGRAM,
                "write a name, phu.KEY, tag.NAME, count(stream) or quoted text",
                width=len(word),
            )
        self.at = end
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word], word)
        if _HEADER.fullmatch(word):
            return Name(word, start)
        if word in self.known:
            return Name(word, start)
        if text_allowed:
            return Literal(word, word)
        if IDENTIFIER.fullmatch(word):
            return Name(word, start)
        raise self.fault(
            f"`{printable(word)}` is not a name",
            "a name has letters, digits and underscores, or is phu.KEY, hdr.KEY or tag.NAME",
            "write the name on the left and the value on the right, or quote the text",
            start,
            len(word),
        )

    def count(self, end: int) -> Count:
        start, self.at = self.at, end
        self.char("(")
        self.blanks()
        found = IDENTIFIER.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        if found is None or not self.char(")"):
            raise self.fault(
                "`count` takes the name of one stream",
                "it gives the number of frames in a stream",
                "write `count(main)`",
                start,
                5,
            )
        return Count(found.group(), start)


def _constant(operand: Operand) -> bool:
    if isinstance(operand, ListOf):
        return all(isinstance(item, Literal) for item in operand.items)
    return isinstance(operand, Literal)
