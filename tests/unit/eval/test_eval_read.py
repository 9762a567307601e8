"""Answers as models write them, and what is to be read out of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.eval.choose import choice
from nudging.eval.read import date, number, phrase, verdict, word
from nudging.eval.task import Sample
from nudging.eval.tasks import TASKS

NUMBERS = [
    ("18", "18"),
    ("The answer is 18.", "18"),
    ("**Answer:** 18", "18"),
    ("**Answer: $18**", "18"),
    ("#### 18", "18"),
    ("$\\boxed{18}$", "18"),
    ("The final answer is $\\boxed{1,234}$.", "1234"),
    ("$1,234.50", "1234.5"),
    ("She makes $18.00 every day.", "18"),
    ("18 eggs * $2 = $36", "36"),
    ("The answer is 9 * 2 = 18.", "18"),
    ("So the answer is 18 eggs. She sells 9 of them at $2 each.", "18"),
    ("Answer:\n\n18\n\nExplanation: 16 - 3 - 4 = 9, and 9 * 2 = 18, as 4 are baked.", "18"),
    ("First, 3 + 4 = 7.\nThen, 16 - 7 = 9.\nFinally, 9 * 2 = 18", "18"),
    ("The answer is 20. Wait, 2 are broken, so the answer is 18.", "18"),
    ("The answer is 18. I hope this answer is helpful!", "18"),
    ("The temperature fell by 8, so it is now -3 degrees.", "-3"),
    ("5 - 3 = -2", "-2"),
    ("5-3", "3"),
    ("He lost −3 points", "-3"),
    ("The profit is -$40", "-40"),
    ("50%", "50"),
    ("It takes 0.5 hours", "0.5"),
    ("007", "7"),
    ("1,000,000 people", "1000000"),
    ("3, 4, 5", "5"),
    ("The answer is 3/4.", "0.75"),
    ("The answer is $\\frac{3}{4}$.", "0.75"),
    ("-\\dfrac{1}{2}", "-0.5"),
    ("1\\tfrac{1}{2}", "1.5"),
    ("She needs 1 1/2 cups", "1.5"),
    ("The answer is -10/4.", "-2.5"),
    ("a third, 1/3", "1/3"),
    ("2/6", "1/3"),
    ("8 / 2 = 4", "4"),
    ("1/2 * 10 = 5", "5"),
    ("6/3", "2"),
    ("3/0", "0"),
    ("on 5/23/1943", "1943"),
    ("1.5/2", "2"),
    ("1.5e3", "1500"),
    ("It is 2E-2.", "0.02"),
    ("3e", "3"),
    ("Let me know if you need more help!", None),
    ("", None),
]
CHOICES = {"A": "complete job", "B": "learn from each other", "C": "kill animals", "D": "wear hats"}
LETTERS = [
    ("B", "B"),
    ("(b)", "B"),
    ("B.", "B"),
    ("**B**", "B"),
    ("B. learn from each other", "B"),
    ("b) Learn from each other.", "B"),
    ("The answer is (B).", "B"),
    ("The answer is B", "B"),
    ("**Answer:** B. learn from each other", "B"),
    ("Therefore, the correct answer is:\n\n**B. learn from each other**\n\n", "B"),
    ("The correct answer is **(B) learn from each other**.\n\nLet me know if I can help!", "B"),
    ("So the correct answer is $\\boxed{B}$.", "B"),
    ("$$\\boxed{\\text{B}}$$", "B"),
    ("\\boxed{\\text{(B) learn from each other}}", "B"),
    ("Based on this, the correct answer is **Option B: learn from each other**.", "B"),
    ("The best answer is B. People at work learn from each other.", "B"),
    ("The answer is learn from each other.", "B"),
    ("The answer is a complete job, not a half one.", "A"),
    ("The answer is a good one to know.", None),
    ("Option A is wrong. Option C is cruel. Option B is the correct choice.", "B"),
    ("So B is the correct choice.", "B"),
    ("A is wrong, and C is cruel.\nTherefore, B is correct.", "B"),
    ("(A) is wrong since it is a means. (B) is the correct option.", "B"),
    ("I would choose B.", "B"),
    ("I would pick (B) because people learn.", "B"),
    ("A. The answer is B.", "B"),
    ("A is correct. B is correct.", None),
    ("Neither A nor B is correct.", None),
    ("If B is correct, they learn.", None),
    ("B is not the correct choice.", None),
    ("A bank is the best place.", None),
    ("I would choose A bank.", None),
    ("People at work aim to complete job.", "A"),
    ("They wear hats, and they kill animals.", None),
    ("At work, people\nA. complete job\nB. learn from each other\nC. kill animals", None),
    ("A. complete job\nThis is what people are paid for.", "A"),
    ("B. learn from each other\n\nNot A. complete job, since that is only a means.", "B"),
    ("* A. complete job: possible.\n* D. wear hats: no.\n\nThe answer is A. complete job.", "A"),
    (
        "E. get a new job\nF. get rich\nG. get famous\nA. complete job\nB. learn from each other",
        None,
    ),
    ("B. wear hats", None),
    ("The answer is B. wear hats", None),
    ("The answer is B. wear hats. People do.", None),
    ("To answer this question, let us think step by step.", None),
    ("", None),
]
VERDICTS = [
    ("Yes", "yes"),
    ("no.", "no"),
    ("true", "yes"),
    ("False", "no"),
    ("So the answer is yes", "yes"),
    ("So the answer is yes.\n\nQuestion: Is it no use?", "yes"),
    ("**Answer:** No", "no"),
    ("No, San Diego is in California.", "no"),
    ("Yes it is: there is no law against it.", "yes"),
    ("There is no evidence that llamas swim. Therefore, no.", "no"),
    ("No one has ever done so. It is true, though.", "yes"),
    ("Let us see whether it is true or false.", None),
    ("The statement is not true.", "no"),
    ("The answer is no because dolphins live in the sea.", "no"),
    ("I am not sure about that.", None),
    ("The argument relies on a false dichotomy. It is a true story.", None),
    ("To see if it is true, we must look at the facts.", None),
    ("It is true that llamas live in Peru. They graze. They spit. They run. They sleep.", None),
    ("Therefore, it is false.\n\nNote: I am a model. Ask a zoologist. Or a llama. Bye.", "no"),
]
SPORTS = [
    ("1. yes\n2. plausible", "yes"),
    ("1. no\n2. implausible", "no"),
    ("The statement is plausible.", "yes"),
    ("Conclusion: the sentence is **implausible**.", "no"),
    ("This is not plausible, since he is a basketball player.", "no"),
    ("Is it plausible or implausible? He plays ice hockey, so it is plausible.", "yes"),
    ("The statement isn't really plausible", "no"),
    ("It is not implausible.", "yes"),
    ("This is a plausible statement, since he plays ice hockey.", "yes"),
]
COINS = [
    ("The coin is still heads up.", "yes"),
    ("Ann flips it: tails up. Bob flips it: heads up. So the coin is heads up.", "yes"),
    ("The coin was flipped once. Therefore, the coin is no longer heads up.", "no"),
    ("Is the coin still heads up? No.", "no"),
    ("To determine if the coin is still heads up, we look at each flip", None),
    ("After one flip the coin is tails up.", "no"),
    ("Ann flips it, so it is tails up.\nConclusion: Is the coin still heads up?", "no"),
    ('The answer to the question "Is the coin still heads up?" is no.', "no"),
    ("The coin is not still heads up. So the answer is no.", "no"),
]
DATES = [
    ("05/23/1943", "05/23/1943"),
    ("5/3/1943", "05/03/1943"),
    ("The date today is 05/01/2021.", "05/01/2021"),
    ("Yesterday was April 30, 2021, so today is May 1, 2021.", "05/01/2021"),
    ("**Answer:** 05/01/2021 (yesterday was 04/30/2021)", "05/01/2021"),
    ("Here is how we got the answer:\n04/30/2021 + 24 hours = 05/01/2021", "05/01/2021"),
    ("It is 04/30/2020? What is the answer? It is 05/01/2021.", "05/01/2021"),
    ("The answer is May 1st, 2021.", "05/01/2021"),
    ("1 May 2021", "05/01/2021"),
    ("the 1st of May 2021", "05/01/2021"),
    ("Sept. 9, 1909", "09/09/1909"),
    ("2021-05-01", "05/01/2021"),
    ("02/30/2021", None),
    ("05/01/21", None),
    ("tomorrow", None),
]
WORDS = [
    ("oyaa", "oyaa"),
    ("yaeA", "yaea"),
    ('The answer is "oyaa".', "oyaa"),
    ("So the answer is oyaa because those are the last letters.", "oyaa"),
    ("**Answer:** o-y-a-a", "oyaa"),
    ("The last letters are o, y, a and a. Concatenated: o + y + a + a = oyaa", "oyaa"),
    ('The last letter of "Camilo" is "o".\nConcatenating them gives "oyaa".', "oyaa"),
    ('Answer: The last letters are "o", "y", "a", "a". Concatenating them gives "oyaa".', "oyaa"),
    ('So, the answer to the question is "oyaa."', "oyaa"),
    ("The result of concatenation is o y a a", "oyaa"),
    ("When we put them together, we get ‘oyaa’.", "oyaa"),
    ("$\\boxed{\\text{oyaa}}$", "oyaa"),
    ("1234", None),
]
PHRASES = [
    ("Paris", "paris"),
    ("The answer is Paris. It lies on the Seine.", "paris"),
    ("Let me think.\n\n**Paris**\n", "paris"),
    ("Answer: 'the Eiffel  Tower'", "the eiffel tower"),
    ("...", None),
]


@pytest.mark.parametrize(("answer", "reading"), NUMBERS)
def test_numbers(answer: str, reading: str | None) -> None:
    assert number(answer) == reading


@pytest.mark.parametrize(("answer", "reading"), LETTERS)
def test_letters(answer: str, reading: str | None) -> None:
    assert choice(answer, CHOICES) == reading


@pytest.mark.parametrize(("answer", "reading"), VERDICTS)
def test_verdicts(answer: str, reading: str | None) -> None:
    assert verdict(answer) == reading


@pytest.mark.parametrize(
    ("task", "answer", "reading"),
    [*(("sports", *case) for case in SPORTS), *(("coin_flip", *case) for case in COINS)],
)
def test_verdicts_in_the_words_of_a_task(task: str, answer: str, reading: str | None) -> None:
    assert TASKS[task].reading(answer, EMPTY) == reading


@pytest.mark.parametrize(("answer", "reading"), DATES)
def test_dates(answer: str, reading: str | None) -> None:
    assert date(answer) == reading


@pytest.mark.parametrize(("answer", "reading"), WORDS)
def test_words(answer: str, reading: str | None) -> None:
    assert word(answer) == reading


@pytest.mark.parametrize(("answer", "reading"), PHRASES)
def test_phrases(answer: str, reading: str | None) -> None:
    assert phrase(answer) == reading


# --- no text is too strange -----------------------------------------------------------------

EMPTY = Sample("0", "?", "", "?", None)
READERS: dict[str, Callable[[str], str | None]] = {
    "number": number,
    "choice": lambda text: choice(text, CHOICES),
    "digits": lambda text: choice(text, {"1": "(-1, 1)", "2": "[-1, 1]", "3": "", "4": "."}),
    "verdict": verdict,
    "sports": lambda text: TASKS["sports"].reading(text, EMPTY),
    "coin_flip": lambda text: TASKS["coin_flip"].reading(text, EMPTY),
    "date": date,
    "word": word,
    "phrase": phrase,
}
BITS = (
    *("answer is", "Answer:", "####", "\\boxed{", "(B)", "B.", "Option B", "wear hats", "the"),
    *("yes", "no", "not", "plausible", "heads", "-", "$", "1,000", "1", ".", ",", "05/23/1943"),
    *("May", "5th", '"', "'", "a", " ", "\n", "**", "é", "\ud800", "\0", "²", "٣", "\u2028"),
)
TEXTS = st.text(st.characters()) | st.lists(st.sampled_from(BITS)).map("".join)


@pytest.mark.parametrize("name", READERS)
@given(text=TEXTS)
def test_every_text_has_a_reading_or_none(name: str, text: str) -> None:
    reading = READERS[name](text)
    assert reading is None or reading


@pytest.mark.parametrize("name", READERS)
@given(text=TEXTS)
def test_a_text_that_only_repeats_what_was_read_says_the_same(name: str, text: str) -> None:
    """What one answer says can be the gold of another."""
    reading = READERS[name](text)
    if reading is not None and name not in ("sports", "coin_flip"):
        assert READERS[name](reading) == reading


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "bit", [*BITS, "answer ", "a b ", "o, ", "is ", '"a', "B. x\n", "1/", "not a "]
)
def test_long_texts_are_read_quickly(name: str, bit: str) -> None:
    text = (bit * 100_000)[:100_000] + "!"
    start = time.process_time()
    READERS[name](text)
    assert time.process_time() - start < 2
