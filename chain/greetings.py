"""What the chain answers: the greetings, and how many one call may ask for."""

from typing import Final

GREETINGS: Final = {
    str(index): greeting
    for index, greeting in enumerate(("Hello", "Bonjour", "Hola", "こんにちは", "Ciao", "안녕하세요"))
}
"""By index, as `data` asks for them."""
MOST_INDICES: Final = 1_000_000
MOST_REQUESTS: Final = 10_000
"""Of one TalkMoreAnswerOne: its one answer must fit a message."""
