"""The commands beside training: `mosaic-ner NAME`. Standard library only, so that --help is quick."""

COMMANDS = {
    "tag": ("prediction.tag", "the mentions of a text, a file or a folder"),
    "annotate": ("prediction.collection", "a collection of any size, on one computer or a Ray cluster"),
    "publish": ("hub.publish", "a trained model as the folder that goes to the Hub; --upload sends it"),
    "verify": ("hub.verify", "whether a folder is what it says, before anything in it runs"),
    "export": ("hub.export", "a model for programs without this package"),
    "space": ("hub.space.app", "the demo page, here or as a folder for the Hub"),
    "publish_data": ("hub.publish_data", "the corpora as a dataset of the Hub"),
    "card": ("hub.card", "model cards from results.json"),
    "results": ("analysis.results_table", "the README's table of results, from the cards"),
    "table": ("analysis.table", "several runs in one table"),
    "compare": ("analysis.compare", "runs against runs, with significance"),
    "conflicts": ("analysis.conflicts", "how corpora disagree on the texts that they share"),
    "errors": ("analysis.errors", "a run's errors, or those of two side by side, each in its sentence"),
    "modes": ("analysis.modes", "a tagger's modes on a corpus, a row each"),
    "study": ("analysis.study", "the cells of a study: runs those that are missing, tables, plots"),
    "figures": ("analysis.figures", "F1 against the weight of the CVAE, of several runs"),
    "reliability": ("analysis.reliability", "how often a mention with a given score is right"),
    "latents": ("analysis.latents", "the spaces of the joint information bottleneck"),
    "generation": ("analysis.generation", "what its decoders generate"),
    "data_card": ("data_builders.data_card", "the corpora's statistics, faults and licences"),
    "synonyms": ("data_builders.synonyms", "how many mentions have synonyms"),
    "options": ("training.options_table", "all options, as Markdown"),
}
"""Command → its module in the package, and what it is for."""
