"""Where each interval and test of a report was published, so that a reviewer can look it up."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What a method's name holds, what the table calls it, where it was published. One name may hold several.
_SOURCES: tuple[tuple[str, str, str], ...] = (
    (r"Clopper-Pearson|exact binomial", "Clopper-Pearson", "Clopper & Pearson, Biometrika 26:404 (1934)"),
    (r"\bWilson\b", "Wilson", "Wilson, J Am Stat Assoc 22:209 (1927)"),
    (r"Agresti-Coull", "Agresti-Coull", "Agresti & Coull, Am Stat 52:119 (1998)"),
    (r"Jeffreys", "Jeffreys", "Brown, Cai & DasGupta, Stat Sci 16:101 (2001)"),
    (r"effective n", "Effective number of cases", "Korn & Graubard, Surv Methodol 24:193 (1998)"),
    (r"\(Lam\)", "Indirect interval of F1", "Lam, Gopal & Qian, arXiv:2309.14621 (2024)"),
    (r"sum of Clopper-Pearson", "Rectangle of exact limits", "Bonferroni's inequality on Clopper-Pearson limits"),
    (r"Mercaldo", "Predictive value at a prevalence", "Mercaldo, Lau & Zhou, Stat Med 26:2170 (2007)"),
    (r"Simel", "Likelihood ratio, log method", "Simel, Samsa & Matchar, J Clin Epidemiol 44:763 (1991)"),
    (r"Koopman", "Koopman", "Koopman, Biometrics 40:513 (1984)"),
    (r"Katz", "Katz", "Katz et al., Biometrics 34:469 (1978)"),
    (r"Newcombe hybrid", "Newcombe's hybrid", "Newcombe, Stat Med 17:873 (1998)"),
    (r"Newcombe.*pair|paired.*Newcombe", "Newcombe, paired", "Newcombe, Stat Med 17:2635 (1998)"),
    (r"Newcombe \(2006\)", "Newcombe's method 5", "Newcombe, Stat Med 25:559 (2006)"),
    (r"Miettinen", "Miettinen-Nurminen", "Miettinen & Nurminen, Stat Med 4:213 (1985)"),
    (r"\bMee\b", "Mee", "Mee, Biometrics 40:1175 (1984)"),
    (r"Farrington", "Farrington-Manning", "Farrington & Manning, Stat Med 9:1447 (1990)"),
    (r"Tango", "Tango", "Tango, Stat Med 17:891 (1998)"),
    (r"\bNam", "Nam", "Nam, Biometrics 53:1422 (1997)"),
    (r"\bTang,|Tang score|Tang's", "Ratio of paired shares", "Tang, Tang & Chan, Stat Med 22:1217 (2003)"),
    (r"McNemar", "McNemar", "McNemar, Psychometrika 12:153 (1947)"),
    (r"Stuart-Maxwell", "Stuart-Maxwell", "Stuart, Biometrika 42:412 (1955); Maxwell, Br J Psychiatry 116:651 (1970)"),
    (r"DeLong", "DeLong", "DeLong, DeLong & Clarke-Pearson, Biometrics 44:837 (1988)"),
    (r"Obuchowski(?!-Rockette)", "AUROC of patients with several cases", "Obuchowski, Biometrics 53:567 (1997)"),
    (r"Obuchowski-Rockette|Hillis", "Obuchowski-Rockette", "Obuchowski & Rockette, Commun Stat Simul 24:285 (1995); "
     "Hillis, Stat Med 26:596 (2007)"),
    (r"U-statistic", "U-statistics of readers and cases", "Gallas, Acad Radiol 13:353 (2006)"),
    (r"partial area", "Partial area, corrected", "McClish, Med Decis Making 9:190 (1989)"),
    (r"BCa", "Bootstrap, BCa", "Efron & Tibshirani, An Introduction to the Bootstrap, ch. 14 (1993)"),
    (r"percentile|basic", "Bootstrap, percentile and basic", "Davison & Hinkley, Bootstrap Methods, ch. 5 (1997)"),
    (r"patient bootstrap|patients resampled", "Resampling whole patients",
     "Field & Welsh, J R Stat Soc B 69:369 (2007)"),
    (r"size of the error", "Bootstrap for absolute values", "evalsuite, docs/decisions/0011; its coverage: "
     "docs/statistics/coverage"),
    (r"net benefit|^standardised|interventions avoided", "Net benefit",
     "Vickers & Elkin, Med Decis Making 26:565 (2006)"),
    (r"^Wald|sandwich|profile likelihood", "Calibration intercept and slope", "Cox, Biometrika 45:562 (1958); "
     "Van Calster et al., BMC Med 17:230 (2019)"),
    (r"loess", "Smooth calibration curve", "Austin & Steyerberg, Stat Med 38:4051 (2019)"),
    (r"^debiased", "Debiased calibration error", "Kumar, Liang & Ma, NeurIPS (2019)"),
    (r"reflected Gaussian", "Smooth calibration error", "Błasiok & Nakkiran, ICLR (2024)"),
    (r"Spiegelhalter", "Spiegelhalter", "Spiegelhalter, Stat Med 5:421 (1986)"),
    (r"Hosmer", "Hosmer-Lemeshow", "Hosmer & Lemeshow, Commun Stat Theory 9:1043 (1980)"),
    (r"Fleiss-Cohen-Everitt", "Kappa", "Fleiss, Cohen & Everitt, Psychol Bull 72:323 (1969)"),
    (r"Gwet", "Gwet's AC2", "Gwet, Br J Math Stat Psychol 61:29 (2008)"),
    (r"Fisher z, delta", "Correlation by Fisher's z", "Fisher, Metron 1:3 (1921); Brown & Benedetti, J Am Stat Assoc "
     "72:309 (1977)"),
    (r"Lin, Fisher z", "Concordance", "Lin, Biometrics 45:255 (1989)"),
    (r"structural components", "Volume under the surface", "Nakas & Yiannoutsos, Stat Med 23:3437 (2004)"),
    (r"^F, Satt|^exact F", "Intraclass correlation", "Shrout & Fleiss, Psychol Bull 86:420 (1979); McGraw & Wong, "
     "Psychol Methods 1:30 (1996)"),
    (r"non-central t", "Limits of agreement, exact", "Carkeet, Optom Vis Sci 92:e71 (2015)"),
    (r"SD, .*MOVER|variance components", "Limits of agreement, MOVER", "Zou, Stat Methods Med Res 22:630 (2013)"),
    (r"Bland-Altman", "Limits of agreement", "Bland & Altman, Lancet 327:307 (1986)"),
    (r"direct(ly)? standardi", "Direct standardisation", "Keiding & Clayton, Stat Sci 29:529 (2014)"),
    (r"overlap weights", "Overlap weights", "Li, Morgan & Zaslavsky, J Am Stat Assoc 113:390 (2018)"),
    (r"^logistic regression, patient", "Adjusted odds ratio", "Liang & Zeger, Biometrika 73:13 (1986)"),
    (r"over their standard deviation", "Standardised difference", "Austin, Stat Med 28:3083 (2009)"),
    (r"effective numbers of cases", "Test of all groups, effective numbers", "Rao & Scott, Biometrics 48:577 (1992)"),
    (r"square-and-add|\bMOVER\b", "Square and add (MOVER)", "Zou & Donner, Stat Med 27:1693 (2008)"),
    (r"jackknife over patients", "Deming line", "Linnet, Clin Chem 39:424 (1993)"),
    (r"Passing-Bablok", "Passing-Bablok", "Passing & Bablok, J Clin Chem Clin Biochem 21:709 (1983)"),
    (r"quantile of the absolute", "Total deviation index", "Lin et al., J Am Stat Assoc 97:257 (2002)"),
    (r"chi-square$|within-subject", "Repeatability", "Raunig et al., Stat Methods Med Res 24:27 (2015)"),
    (r"least squares", "Proportional bias", "Bland & Altman, Stat Methods Med Res 8:135 (1999)"),
    (r"two one-sided", "Equivalence, two one-sided tests", "Schuirmann, J Pharmacokinet Biopharm 15:657 (1987)"),
    (r"Hartung-Knapp", "Average of sites", "Hartung & Knapp, Stat Med 20:3875 (2001)"),
    (r"prediction", "Prediction interval for a new site", "Higgins, Thompson & Spiegelhalter, J R Stat Soc A 172:137 "
     "(2009)"),
    (r"Q-profile|Cochran", "Heterogeneity", "Viechtbauer, Stat Med 26:37 (2007)"),
    (r"Begg", "Partial verification", "Begg & Greenes, Biometrics 39:207 (1983)"),
    (r"linearised", "Sampling weights", "Binder, Int Stat Rev 51:279 (1983); Yao, Li & Graubard, Stat Med 34:1437 "
     "(2015)"),
    (r"betting confidence sequence", "Confidence sequence", "Waudby-Smith & Ramdas, J R Stat Soc B 86:1 (2024)"),
    (r"Holm", "Holm", "Holm, Scand J Stat 6:65 (1979)"),
    (r"Hochberg(?<!Benjamini-Hochberg)", "Hochberg", "Hochberg, Biometrika 75:800 (1988)"),
    (r"Hommel", "Hommel", "Hommel, Biometrika 75:383 (1988)"),
    (r"Benjamini", "Benjamini-Hochberg", "Benjamini & Hochberg, J R Stat Soc B 57:289 (1995)"),
    (r"fixed sequence|gatekeeping", "Fixed sequence, gates", "Bretz et al., Stat Med 28:586 (2009)"),
    (r"\bREML\b", "Variance components", "Bates et al., J Stat Softw 67:1 (2015)"),
    (r"modified large-sample", "Variance components, balanced", "Burdick, Borror & Montgomery, J Qual Technol 35:342 "
     "(2003)"),
    (r"Student t|\bt on \d|^normal|delta method", "Mean of patients, delta method", "Casella & Berger, Statistical "
     "Inference, ch. 5 and 9 (2002)"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), name, source) for pattern, name, source in _SOURCES)


def sources_of(methods: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Name and publication of everything that these methods are made of, in the order of the list above."""
    used = tuple(dict.fromkeys(methods))
    return tuple((name, source) for pattern, name, source in _COMPILED if any(pattern.search(m) for m in used))
