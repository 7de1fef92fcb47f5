"""A text that every filter of the corpus lets pass."""

# Sixty different plain words: over 50 tokens, English, nothing repeated.
PROSE = (
    "The old lighthouse keeper climbed slowly toward his lamp every evening before dusk settled "
    "over these rocky northern islands, carrying fresh oil, clean wicks and a small brass clock "
    "that his grandmother had bought from travelling merchants. Ships passing far below could see "
    "its steady beam through heavy rain, thick fog or blinding snow, and captains often thanked "
    "him with letters"
)
