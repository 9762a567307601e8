"""Numbers and choices in the many ways in which people and models type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.eval.choose import choice
from nudging.eval.read import number

NUMBERS = [
    # TeX
    (r"\boxed{1{,}234}", "1234"),
    (r"$\boxed{\$9{,}500}$", "9500"),
    (r"12,\!345", "12345"),
    (r"\boxed{12,\!345,\!678}", "12345678"),
    (r"12\,000", "12000"),
    (r"The total is \(12\,000\) dollars.", "12000"),
    (r"$12\;000$", "12000"),
    (r"12~000", "12000"),
    (r"\boxed{\text{18 eggs}}", "18"),
    (r"\boxed{18\text{ eggs for }3\text{ children}}", "18"),
    (r"\boxed{\mathrm{18}}", "18"),
    (r"\boxed{\mathbf{\text{18}}}", "18"),
    (r"\boxed{x = 18}", "18"),
    (r"$\boxed{18}$ eggs are left for 3 days", "18"),
    (r"\boxed{-5}", "-5"),
    (r"\boxed{ - 5 }", "-5"),
    (r"\boxed{50\%}", "50"),
    (r"\boxed{\dfrac{-3}{4}}", "-0.75"),
    (r"\boxed{\frac34}", "0.75"),
    (r"\fbox{18}", "18"),
    (r"\boxed{3 \times 10^{4}}", "30000"),
    (r"1{\,}234{\,}567", "1234567"),
    (r"12{ }000", "12000"),
    (r"\boxed{18~\text{m}^2}", "18"),
    (r"\boxed{18\text{ cm}^3}", "18"),
    ("The area is 18 cm2.", "18"),
    ("It moves at 18 m s^{-1}", "18"),
    (r"\boxed{2^{10}}", "10"),
    # as they are typed elsewhere
    ("１８", "18"),
    ("The answer is －５．", "-5"),
    ("½", "0.5"),
    ("She needs 1½ cups", "1.5"),
    ("1,23,456", "123456"),
    # thousands
    ("1 234", "1234"),
    ("1\u00a0234", "1234"),
    ("1\u2009234", "1234"),
    ("1\u202f234\u202f567", "1234567"),
    ("The town has 12 345 people.", "12345"),
    ("It costs $1 234.50", "1234.5"),
    ("1'234", "1234"),
    ("1’234’567", "1234567"),
    ("1_234", "1234"),
    ("1.234.567", "1234567"),
    ("1.234,50", "1234.5"),
    ("1 234,50 €", "1234.5"),
    ("In week 1 100 people came", "100"),
    ("She counted 1 2 3 4", "4"),
    ("She needs 1 1/2 cups", "1.5"),
    ("It is 1.234", "1.234"),
    ("2, 345", "345"),
    ("He owns 3 100-watt bulbs", "100"),
    # signs and dashes
    ("–5", "-5"),
    ("−5", "-5"),
    ("—5", "-5"),
    ("The change is —5.", "-5"),
    ("minus 5", "-5"),
    ("The temperature is minus 5 degrees.", "-5"),
    ("10 minus 5", "5"),
    ("He has 18—5 of them at home", "5"),
    ("The temperature is –5 degrees.", "-5"),
    ("The answer is −5.", "-5"),
    ("The answer is: –$5", "-5"),
    ("The loss is −€40", "-40"),
    ("x = – 5", "-5"),
    ("The answer is – 5", "-5"),
    ("(–5)", "-5"),
    ("It is negative 5.", "-5"),
    ("5 − 8 = −3", "-3"),
    ("3–5", "5"),
    ("pages 3 – 5", "5"),
    ("10 – 5 = 5", "5"),
    ("10 − 5 = 5", "5"),
    ("10%–15%", "15"),
    ("$10–$15", "15"),
    ("Final answer – 5", "5"),
    # what is said by the way
    ("18 eggs for the 3 children", "18"),
    ("18 eggs for 3 children", "18"),
    ("18 eggs shared by the 3 children", "18"),
    ("So she has 18 eggs for the 3 children.", "18"),
    ("The answer is 18 eggs for the 3 children.", "18"),
    ("The answer is **18 eggs** for all 3 children.", "18"),
    ("Answer: 18 apples in 3 baskets", "18"),
    ("The answer is 18 (6 for each of the 3 children).", "18"),
    ("The answer is 18, which is 9 times 2.", "18"),
    ("The answer is 18 because there are 3 children.", "18"),
    ("Answer: about 18 miles per day over 2 weeks", "18"),
    ("18 eggs for the 3 children and 2 adults", "18"),
    ("She gave 18 eggs to the 3 children.", "18"),
    ("There are 18 left of the 36 eggs.", "18"),
    ("She sold the eggs for $18.", "18"),
    ("She sold 9 eggs for $18.", "18"),
    ("She sold 9 eggs for 18 dollars.", "18"),
    ("She baked 2 loaves and sold them for the $18.", "18"),
    ("Each of the 3 children gets 6 eggs.", "6"),
    ("The answer is 36 for the 2 of them, so 18.", "18"),
    ("The answer is 20 of 36 minus 2, which makes 18", "18"),
    ("Answer: 36 eggs for 2 people is 18", "18"),
    ("9 eggs for 2 dollars each = 18", "18"),
    ("16 - 3 - 4 = 9 eggs for the 2 neighbours at $2 each", "9"),
    ("9 * $2 = $18 every day at the market for 7 days", "18"),
    ("3 * 4 = 12 apples, then she eats 5, leaving 7", "7"),
    ("x = 18, y = 3", "3"),
    ("( 10.0 - ( 2.0 + 4.0 ) )", "4"),
    ("8 x (5x2)", "2"),
    ("There is only one way, which is by a 1. So it is 35/36.", "35/36"),
    ("From 600 B.C.E.–600 C.E.", "600"),
    ("50 000 for 2 years", "50000"),
    ("The answer is $18 a day, for 7 days", "18"),
    ("So he needs 18 eggs to feed the 3 children.", "18"),
    ("He will have $18 left after buying the 3 books.", "18"),
    ("She eats 2, leaving the 18 eggs that she sells.", "18"),
    ("3 boxes hold 18 eggs", "18"),
    # tags
    ("<answer>18</answer>", "18"),
    ("<answer>18</answer> I checked it 3 times.", "18"),
    ("<final_answer>1 234</final_answer> (in 2 steps)", "1234"),
    ('{"answer": 18}', "18"),
]

FOUR = {"A": "blue", "B": "green", "C": "red", "D": "yellow"}
TEN = {label: f"thing number {place}" for place, label in enumerate("ABCDEFGHIJ")}
LETTERS = [
    # two are none
    ("A or B", None),
    ("A and B", None),
    ("A and B.", None),
    ("A, B", None),
    ("A/B", None),
    ("Both A and B", None),
    ("Either A or B", None),
    ("(A) or (B)", None),
    ("Option A or B", None),
    ("Option A or option B", None),
    ("The answer is A or B.", None),
    ("The answer is A and B", None),
    ("The answer is A, B.", None),
    ("The answer is (A) and (C).", None),
    ("The answer is either B or C.", None),
    ("The answer is both A and B.", None),
    ("Answer: A & B", None),
    ("Answer: A/B", None),
    ("\\boxed{A, B}", None),
    ("\\boxed{\\text{A and B}}", None),
    ("<answer>A or B</answer>", None),
    ("A or B is the answer.", None),
    (r"\boxed{A \text{ or } B}", None),
    (r"\boxed{A} \text{ or } \boxed{B}", None),
    (r"$\boxed{A}$ and $\boxed{C}$", None),
    ("a or b", None),
    ("I think it's b or c.", None),
    ("A and B are correct.", None),
    ("I think it's B or C.", None),
    ("I think it is B, or maybe C.", None),
    ("I would choose A or B.", None),
    # but what goes on about another one is not a second choice
    ("The answer is B, and A is wrong.", "B"),
    ("The answer is B, not A.", "B"),
    ("The answer is B rather than A.", "B"),
    ("A is wrong, and C is correct.", "C"),
    # called right
    ("C is the answer.", "C"),
    ("(C) is the answer.", "C"),
    ("C is the answer because it is red.", "C"),
    ("So C is the correct answer.", "C"),
    ("C must be the answer.", "C"),
    ("C: is the answer", "C"),
    ("'C' is the answer", "C"),
    ("c is the answer", "C"),
    ("C it is.", "C"),
    ("C. it is a fruit", None),
    ("C is clearly the right choice.", "C"),
    ("C would be the best answer.", "C"),
    ("Option C is the answer.", "C"),
    ("C is not the answer.", None),
    ("If C is the answer, roses count.", None),
    # chosen
    ("I think it's B", "B"),
    ("I think it's B.", "B"),
    ("I think it’s (B).", "B"),
    ("I think it is B because leaves are.", "B"),
    ("It must be B.", "B"),
    ("I'd say B.", "B"),
    ("I think its B", "B"),
    ("I think it is b", "B"),
    ("It's gotta be B", "B"),
    ("Probably B", "B"),
    ("Has to be B.", "B"),
    ("C, neither A nor B", "C"),
    ("neither A nor B; C", "C"),
    ("neither a nor b, it is c", "C"),
    ("I'm going with B.", "B"),
    ("My guess: it's option B.", "B"),
    ("It's a blue one", "A"),
    ("It's A blue one", "A"),
    ("neither A nor B, it is C", "C"),
    ("It is neither A nor B, it is C.", "C"),
    ("Neither A nor B. It's C.", "C"),
    ("The answer is neither A nor B, but C.", "C"),
    ("It can't be A or B, so it must be C.", "C"),
    ("It's not A, it's B.", "B"),
    ("It's either B or D, I think D", "D"),
    ("A and C are wrong, so B.", "B"),
    ("Therefore, B.", "B"),
    ("C, not B", "C"),
    ("I'd say A and not B", "A"),
    ("I choose B over A.", "B"),
    ("The right one is C", "C"),
    ("So A good one is red", "C"),
    ("The answer is not B but C.", "C"),
    ("neither A nor B but C", "C"),
    ("I would go for B", "B"),
    ("Choose B.", "B"),
    ("It is the letter C", "C"),
    ("Neither A nor B is the answer.", None),
    # how it is set
    ("<answer>B</answer>", "B"),
    ("<answer> (B) </answer>", "B"),
    ("<answer>B. green</answer>", "B"),
    ("I weigh A and C.\n<answer>\nB\n</answer>\nI am sure.", "B"),
    (r"\boxed{\mathrm{C}}", "C"),
    (r"\boxed{\text{C}}", "C"),
    (r"$\boxed{\textbf{(C)}}$", "C"),
    (r"\boxed{\mathbf{\text{C}}}", "C"),
    (r"\boxed{\text{C. red}}", "C"),
    (r"\boxed{\text{red}}", "C"),
    (r"\boxed{\rm C}", "C"),
    (r"\boxed{\textsf{C}}", "C"),
    (r"\boxed{\textup{C}}", "C"),
    (r"\boxed{\mathbb{C}}", "C"),
    (r"\framebox{C}", "C"),
    ("<choice>B</choice>", "B"),
    ("（Ｂ）", "B"),
    (r"\boxed{\mathsf C}", "C"),
    ("ANSWER: $B$", "B"),
    ("ANSWER: [B]", "B"),
    ("ANSWER: **B**", "B"),
    ("Answer: `B`", "B"),
    ("ANSWER: b", "B"),
    ("Final answer - B", "B"),
    ("Final answer – B", "B"),
    ("The answer is probably B.", "B"),
    ("The answer is the letter B.", "B"),
    ("The answer is B because a car moves.", "B"),
    ("I would pick B - a safe choice.", "B"),
    ("The answer is B. Note that A is a common mistake.", "B"),
    ("The answer is the red.", "C"),
    ('{"answer": "B"}', "B"),
    # words with such letters
    ("ANSWER: None of the above", None),
    ("ANSWER: Don't know", None),
    ("ANSWER: I don't know", None),
    ("Actually this one is tricky, I'm unsure", None),
    ("I cannot determine the answer.", None),
]


@pytest.mark.parametrize(("answer", "reading"), NUMBERS)
def test_numbers(answer: str, reading: str | None) -> None:
    assert number(answer) == reading


@pytest.mark.parametrize(("answer", "reading"), LETTERS)
def test_choices(answer: str, reading: str | None) -> None:
    assert choice(answer, FOUR) == reading


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        ("The answer is 2.", "2"),
        ("The answer is (2) because 3 is odd.", "2"),
        ("The answer is 1 or 2.", None),
        ("Answer: 1, 2", None),
        ("\\boxed{\\text{3}}", "3"),
        ("<answer>4</answer>", "4"),
    ],
)
def test_labels_may_be_digits(answer: str, reading: str | None) -> None:
    assert choice(answer, {"1": "one thing", "2": "a pair", "3": "a trio", "4": "more"}) == reading


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        ("ANSWER: I don't know", None),
        ("The answer is I think hard to tell.", None),
        ("The answer is I.", "I"),
        ("I think it's I.", "I"),
        ("I think it's B.", "B"),
        ("I is the answer.", "I"),
        ("The answer is C because I computed it.", "C"),
    ],
)
def test_i_is_a_word_and_may_be_a_label(answer: str, reading: str | None) -> None:
    assert choice(answer, TEN) == reading


# --- what is written out is read back -------------------------------------------------------

SEPARATORS = [
    ",",
    " ",
    "\u00a0",
    "\u2009",
    "\u202f",
    "'",
    "’",
    "{,}",
    ",\\!",
    "\\,",
    "\\;",
    "~",
    "_",
]
SIGNS = ["-", "\u2212", "\u2013", "\u2011", "negative "]
FRAMES = [
    "{}",
    "The answer is {}.",
    "It is {}.",
    "**Answer:** {}",
    "\\boxed{{{}}}",
    "$\\boxed{{\\text{{{}}}}}$",
    "<answer>{}</answer>",
    "#### {}",
    "3 + 4 = 7, so the answer is {} eggs for the 3 children.",
    "So there are {} of them for the 12 boxes.",
]


@given(
    value=st.integers(0, 10**12),
    cents=st.sampled_from(["", ".5", ".25"]),
    separator=st.sampled_from(["", *SEPARATORS]),
    sign=st.sampled_from(["", *SIGNS]),
    frame=st.sampled_from(FRAMES),
)
def test_a_number_is_read_back_however_it_is_typed(
    value: int, cents: str, separator: str, sign: str, frame: str
) -> None:
    typed = f"{value:,}".replace(",", separator) + cents
    minus = "-" if sign and (value or cents) else ""
    assert number(frame.format(sign + typed)) == f"{minus}{value}{cents}"


@given(
    one=st.sampled_from("ABCD"),
    other=st.sampled_from("ABCD"),
    between=st.sampled_from([" or ", " and ", ", ", "/", " & ", ", or "]),
    frame=st.sampled_from(
        [
            "{}",
            "The answer is {}.",
            "Answer: {}",
            "\\boxed{{{}}}",
            "<answer>{}</answer>",
            "It's {}.",
        ]
    ),
)
def test_two_choices_are_none(one: str, other: str, between: str, frame: str) -> None:
    if one != other:
        assert choice(frame.format(f"{one}{between}{other}"), FOUR) is None


@given(
    label=st.sampled_from("ABCD"),
    dress=st.sampled_from(
        ["{}", "({})", "{}.", "**{}**", "${}$", "[{}]", '"{}"', "\\text{{{}}}", "\\mathrm{{{}}}"]
    ),
    frame=st.sampled_from(
        [
            *("{}", "The answer is {}", "Answer: {}", "\\boxed{{{}}}", "<answer>{}</answer>"),
            *("I think it's {}", "Neither of the others, it is {}", "The correct option is {}"),
        ]
    ),
)
def test_a_label_is_read_however_it_is_set(label: str, dress: str, frame: str) -> None:
    assert choice(frame.format(dress.format(label)), FOUR) == label
