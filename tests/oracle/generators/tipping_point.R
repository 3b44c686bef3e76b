# Reference figures for tipping points: every division of the unresolved cases, with R's exact intervals.
# Run:  Rscript tests/oracle/generators/tipping_point.R > tests/oracle/data/tipping_point.csv
# Needs (Debian): r-base-core r-cran-proc
suppressPackageStartupMessages(library(pROC))
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; pROC ", as.character(packageVersion("pROC")), ";\n", sep = "")
cat("family,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")

studies <- list(small = c(tp = 46, fn = 4, tn = 90, fp = 10, up = 6, un = 9), tight = c(tp = 190, fn = 10, tn = 270, fp = 30, up = 5, un = 25), firm = c(tp = 99, fn = 1, tn = 99, fp = 1, up = 3, un = 2))
goals <- c(sensitivity = .80, specificity = .82, ppv = .70, npv = .90, accuracy = .85)
for (name in names(studies)) { s <- studies[[name]]; for (metric in names(goals)) { best <- NA; lower <- matrix(NA, s["up"] + 1, s["un"] + 1)
    for (a in 0:s["up"]) for (b in 0:s["un"]) { tp <- s["tp"] + s["up"] - a; fp <- s["fp"] + a; tn <- s["tn"] + s["un"] - b; fn <- s["fn"] + b
      xn <- switch(metric, sensitivity = c(tp, tp + fn), specificity = c(tn, tn + fp), ppv = c(tp, tp + fp), npv = c(tn, tn + fn), accuracy = c(tp + tn, tp + tn + fp + fn))
      lower[a + 1, b + 1] <- binom.test(xn[1], xn[2])$conf.int[1]; if (lower[a + 1, b + 1] <= goals[metric]) best <- min(best, a + b, na.rm = TRUE) }
    out("tipping", paste(name, metric, sep = "/"), "stats::binom.test, all divisions", "wrong", if (is.na(best)) -1 else best)
    out("tipping", paste(name, metric, sep = "/"), "stats::binom.test", "all-right", lower[1, 1]); out("tipping", paste(name, metric, sep = "/"), "stats::binom.test", "all-wrong", lower[s["up"] + 1, s["un"] + 1]) } }

# AUROC: every subset of 8 unresolved cases as positives; smallest and largest area for each number of them.
i <- 0:29; y <- as.integer((i * 7 + 3) %% 5 < 2); s <- round(sin(i * 1.3) + 1.2 * y, 1); known <- i %% 4 != 1; u <- which(!known)
lo <- rep(Inf, 9); hi <- rep(-Inf, 9); for (m in 0:255) { pos <- u[bitwAnd(m, 2^(0:7)) > 0]; z <- ifelse(known, y, 0); z[pos] <- 1; a <- as.numeric(auc(z, s, levels = c(0, 1), direction = "<")); k <- length(pos) + 1; lo[k] <- min(lo[k], a); hi[k] <- max(hi[k], a) }
for (k in 0:8) { out("auroc", k, "pROC::auc, all subsets", "worst", lo[k + 1]); out("auroc", k, "pROC::auc, all subsets", "best", hi[k + 1]) }
out("auroc", "excluded", "pROC::auc", "value", as.numeric(auc(y[known], s[known], levels = c(0, 1), direction = "<")))
