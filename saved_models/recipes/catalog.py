"""All recipes by the names of their models."""

import detectors
import pictures
import rows
import series
import sprites

RECIPES = {
    **pictures.RECIPES,
    **sprites.RECIPES,
    **rows.RECIPES,
    **detectors.RECIPES,
    **series.RECIPES,
}
