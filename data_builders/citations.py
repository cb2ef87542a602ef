"""BibTeX of every corpus; whoever uses one cites it."""

from __future__ import annotations


def _citation(kind: str, key: str, **fields: str) -> str:
    body = "".join(f",\n  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key}{body}\n}}"


_CRICHTON = _citation(
    "article",
    "crichton2017neural",
    title="A neural network multi-task learning approach to biomedical named entity recognition",
    author="Crichton, Gamal and Pyysalo, Sampo and Chiu, Billy and Korhonen, Anna",
    journal="BMC Bioinformatics",
    volume="18",
    number="368",
    year="2017",
    doi="10.1186/s12859-017-1776-8",
)
_BC5CDR = _citation(
    "article",
    "li2016biocreative",
    title="BioCreative V CDR task corpus: a resource for chemical disease relation extraction",
    author="Li, Jiao and Sun, Yueping and Johnson, Robin J. and Sciaky, Daniela and Wei, Chih-Hsuan and Leaman, Robert "
    "and Davis, Allan Peter and Mattingly, Carolyn J. and Wiegers, Thomas C. and Lu, Zhiyong",
    journal="Database",
    volume="2016",
    pages="baw068",
    year="2016",
    doi="10.1093/database/baw068",
)
_NCBI_DISEASE = _citation(
    "article",
    "dogan2014ncbi",
    title="{NCBI} disease corpus: a resource for disease name recognition and concept normalization",
    author="Do{\\u{g}}an, Rezarta Islamaj and Leaman, Robert and Lu, Zhiyong",
    journal="Journal of Biomedical Informatics",
    volume="47",
    pages="1--10",
    year="2014",
    doi="10.1016/j.jbi.2013.12.006",
)
_LINNAEUS = _citation(
    "article",
    "gerner2010linnaeus",
    title="{LINNAEUS}: a species name identification system for biomedical literature",
    author="Gerner, Martin and Nenadic, Goran and Bergman, Casey M.",
    journal="BMC Bioinformatics",
    volume="11",
    number="85",
    year="2010",
    doi="10.1186/1471-2105-11-85",
)

_JNLPBA = _citation(
    "inproceedings",
    "collier2004introduction",
    title="Introduction to the Bio-entity Recognition Task at {JNLPBA}",
    author="Collier, Nigel and Ohta, Tomoko and Tsuruoka, Yoshimasa and Tateisi, Yuka and Kim, Jin-Dong",
    booktitle="Proceedings of the International Joint Workshop on Natural Language Processing in Biomedicine "
    "and its Applications (NLPBA/BioNLP)",
    pages="73--78",
    year="2004",
)

CITATIONS: dict[str, str] = {
    "biored": _citation(
        "article",
        "luo2022biored",
        title="{BioRED}: a rich biomedical relation extraction dataset",
        author="Luo, Ling and Lai, Po-Ting and Wei, Chih-Hsuan and Arighi, Cecilia N. and Lu, Zhiyong",
        journal="Briefings in Bioinformatics",
        volume="23",
        number="5",
        pages="bbac282",
        year="2022",
        doi="10.1093/bib/bbac282",
    ),
    "bioid": _citation(
        "inproceedings",
        "arighi2017bioid",
        title="{Bio-ID} track overview",
        author="Arighi, Cecilia and Hirschman, Lynette and Lemberger, Thomas and Bayer, Samuel and Liechti, Robin "
        "and Comeau, Donald and Wu, Cathy",
        booktitle="Proceedings of the BioCreative VI Workshop",
        pages="28--31",
        year="2017",
    ),
    "gnormplus": _citation(
        "article",
        "wei2015gnormplus",
        title="{GNormPlus}: an integrative approach for tagging genes, gene families, and protein domains",
        author="Wei, Chih-Hsuan and Kao, Hung-Yu and Lu, Zhiyong",
        journal="BioMed Research International",
        volume="2015",
        pages="918710",
        year="2015",
        doi="10.1155/2015/918710",
    ),
    "nlm_chem": _citation(
        "article",
        "islamaj2021nlmchem",
        title="{NLM-Chem}, a new resource for chemical entity recognition in {PubMed} full text literature",
        author="Islamaj, Rezarta and Leaman, Robert and Kim, Sun and Kwon, Dongseop and Wei, Chih-Hsuan and "
        "Comeau, Donald C. and Peng, Yifan and Cissel, David and Coss, Cathleen and Fisher, Carol and others",
        journal="Scientific Data",
        volume="8",
        pages="91",
        year="2021",
        doi="10.1038/s41597-021-00875-1",
    ),
    "nlm_gene": _citation(
        "article",
        "islamaj2021nlmgene",
        title="{NLM-Gene}, a richly annotated gold standard dataset for gene entities that addresses ambiguity and "
        "multi-species gene recognition",
        author="Islamaj, Rezarta and Wei, Chih-Hsuan and Cissel, David and Miliaras, Nicholas and Printseva, Olga "
        "and Rodionov, Oleg and Sekiya, Keiko and Ward, Janice and Lu, Zhiyong",
        journal="Journal of Biomedical Informatics",
        volume="118",
        pages="103779",
        year="2021",
        doi="10.1016/j.jbi.2021.103779",
    ),
    "s800": _citation(
        "article",
        "pafilis2013species",
        title="The {SPECIES} and {ORGANISMS} resources for fast and accurate identification of taxonomic names in text",
        author="Pafilis, Evangelos and Frankild, Sune P. and Fanini, Lucia and Faulwetter, Sarah and "
        "Pavloudi, Christina and Vasileiadou, Aikaterini and Arvanitidis, Christos and Jensen, Lars Juhl",
        journal="PLoS ONE",
        volume="8",
        number="6",
        pages="e65390",
        year="2013",
        doi="10.1371/journal.pone.0065390",
    ),
    "tmvar3": _citation(
        "article",
        "wei2022tmvar",
        title="{tmVar} 3.0: an improved variant concept recognition and normalization tool",
        author="Wei, Chih-Hsuan and Allot, Alexis and Riehle, Kevin and Milosavljevic, Aleksandar and Lu, Zhiyong",
        journal="Bioinformatics",
        volume="38",
        number="18",
        pages="4449--4451",
        year="2022",
        doi="10.1093/bioinformatics/btac537",
    ),
    "jnlpba": _JNLPBA,
    "mtl_jnlpba": _JNLPBA + "\n" + _CRICHTON,
    "bc2gm": _citation(
        "article",
        "smith2008overview",
        title="Overview of {BioCreative} {II} gene mention recognition",
        author="Smith, Larry and Tanabe, Lorraine K. and Ando, Rie Johnson nee and Kuo, Cheng-Ju and Chung, I-Fang "
        "and others",
        journal="Genome Biology",
        volume="9",
        number="Suppl 2",
        pages="S2",
        year="2008",
        doi="10.1186/gb-2008-9-s2-s2",
    )
    + "\n"
    + _CRICHTON,
    "genia": _citation(
        "article",
        "kim2003genia",
        title="{GENIA} corpus — a semantically annotated corpus for bio-textmining",
        author="Kim, Jin-Dong and Ohta, Tomoko and Tateisi, Yuka and Tsujii, Jun'ichi",
        journal="Bioinformatics",
        volume="19",
        number="suppl 1",
        pages="i180--i182",
        year="2003",
        doi="10.1093/bioinformatics/btg1023",
    ),
    "bc5cdr": _BC5CDR,
    "linnaeus": _LINNAEUS,
    "ncbi_disease": _NCBI_DISEASE,
    "mtl_bc5cdr": _BC5CDR + "\n" + _CRICHTON,
    "mtl_ncbi_disease": _NCBI_DISEASE + "\n" + _CRICHTON,
    "mtl_linnaeus": _LINNAEUS + "\n" + _CRICHTON,
    "mtl_bc4chemd": _citation(
        "article",
        "krallinger2015chemdner",
        title="The {CHEMDNER} corpus of chemicals and drugs and its annotation principles",
        author="Krallinger, Martin and Rabal, Obdulia and Leitner, Florian and Vazquez, Miguel and Salgado, David and "
        "Lu, Zhiyong and Leaman, Robert and Lu, Yanan and Ji, Donghong and Lowe, Daniel M. and others",
        journal="Journal of Cheminformatics",
        volume="7",
        number="Suppl 1",
        pages="S2",
        year="2015",
        doi="10.1186/1758-2946-7-S1-S2",
    )
    + "\n"
    + _CRICHTON,
    "medmentions": _citation(
        "inproceedings",
        "mohan2019medmentions",
        title="{MedMentions}: A Large Biomedical Corpus Annotated with {UMLS} Concepts",
        author="Mohan, Sunil and Li, Donghui",
        booktitle="Proceedings of the Conference on Automated Knowledge Base Construction (AKBC)",
        year="2019",
        doi="10.24432/C5G59C",
    ),
    "scai_chemicals": _citation(
        "inproceedings",
        "kolarik2008chemical",
        title="Chemical Names: Terminological Resources and Corpora Annotation",
        author="Kol{\\'a}rik, Corinna and Klinger, Roman and Friedrich, Christoph M. and Hofmann-Apitius, Martin and "
        "Fluck, Juliane",
        booktitle="Workshop on Building and Evaluating Resources for Biomedical Text Mining (LREC)",
        pages="51--58",
        year="2008",
    ),
    "scai_disease": _citation(
        "inproceedings",
        "gurulingappa2010empirical",
        title="An Empirical Evaluation of Resources for the Identification of Diseases and Adverse Effects in Biomedical "
        "Literature",
        author="Gurulingappa, Harsha and Klinger, Roman and Hofmann-Apitius, Martin and Fluck, Juliane",
        booktitle="2nd Workshop on Building and Evaluating Resources for Biomedical Text Mining (LREC)",
        pages="15--22",
        year="2010",
    ),
    "conll2003": _citation(
        "inproceedings",
        "tjongkimsang2003introduction",
        title="Introduction to the {CoNLL}-2003 Shared Task: Language-Independent Named Entity Recognition",
        author="Tjong Kim Sang, Erik F. and De Meulder, Fien",
        booktitle="Proceedings of the Seventh Conference on Natural Language Learning at HLT-NAACL 2003",
        pages="142--147",
        year="2003",
    ),
}
"""Corpus name → BibTeX entries."""
