# Reference figures for tasks with several classes or labels.
# Run from the repository:  Rscript tests/oracle/generators/several_classes.R > tests/oracle/data/several_classes.csv
# Needs (Debian): r-base-core r-cran-proc r-cran-psych r-cran-vcd
suppressPackageStartupMessages({library(pROC); library(psych); library(vcd)})
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; ", sep = "")
for (p in c("pROC", "psych", "vcd")) cat(p, " ", as.character(packageVersion(p)), "; ", sep = "")
cat("\nfamily,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")
d <- read.csv("tests/oracle/data/four_classes.csv"); classes <- c("mel", "nv", "bcc", "bkl")
p <- as.matrix(d[, paste0("p_", classes)]); colnames(p) <- classes
truth <- factor(d$reference, classes); called <- factor(classes[max.col(p, "first")], classes); n <- nrow(d)

# Hand & Till: the mean over pairs of both directions, larger probability of a class meaning that class.
m <- multiclass.roc(truth, p, direction = ">")
out("hand-till", "four", "pROC::multiclass.roc", "value", as.numeric(m$auc))
sub <- d$reference != "bkl"; q <- p[sub, 1:3]; m3 <- multiclass.roc(droplevels(truth[sub]), q, direction = ">")
out("hand-till", "three", "pROC::multiclass.roc", "value", as.numeric(m3$auc))
for (c in classes) {
  a <- roc(as.integer(truth == c), p[, c], direction = "<", quiet = TRUE)
  out("one-vs-rest", c, "pROC::roc", "auroc", as.numeric(a$auc))
  # Average precision as a sum over the distinct scores, in base R.
  s <- sort(unique(p[, c]), decreasing = TRUE); y <- truth == c; last <- 0; ap <- 0
  for (t in s) { r <- sum(y & p[, c] >= t) / sum(y); ap <- ap + (r - last) * mean(y[p[, c] >= t]); last <- r }
  out("one-vs-rest", c, "base R, by definition", "average_precision", ap)
  t <- table(factor(called == c, c(TRUE, FALSE)), factor(truth == c, c(TRUE, FALSE)))
  out("one-vs-rest", c, "base R, by definition", "sensitivity", t[1, 1] / sum(t[, 1])); out("one-vs-rest", c, "base R, by definition", "specificity", t[2, 2] / sum(t[, 2]))
  out("one-vs-rest", c, "base R, by definition", "ppv", t[1, 1] / sum(t[1, ])); out("one-vs-rest", c, "base R, by definition", "npv", t[2, 2] / sum(t[2, ]))
  out("one-vs-rest", c, "base R, by definition", "f1", 2 * t[1, 1] / (sum(t[1, ]) + sum(t[, 1])))
}
k <- table(called, truth); v <- Kappa(k)
out("overall", "four", "vcd::Kappa", "kappa", v$Unweighted[["value"]])
out("overall", "four", "psych::cohen.kappa", "kappa-psych", cohen.kappa(k)$kappa)
out("overall", "four", "base R", "accuracy", mean(called == truth))
# Correlation of the two indicator matrices (Gorodkin's R_K): covariances summed over classes.
A <- outer(as.character(called), classes, "==") * 1; B <- outer(as.character(truth), classes, "==") * 1
cv <- function(X, Y) sum(sapply(1:4, function(j) cov(X[, j], Y[, j])))
out("overall", "four", "stats::cov, Gorodkin", "mcc", cv(A, B) / sqrt(cv(A, A) * cv(B, B)))
out("overall", "four", "base R", "multiclass_brier", mean(rowSums((p - B)^2)))
for (top in 1:4) out("top-k", top, "base R", "value", mean(sapply(1:n, function(i) as.character(truth[i]) %in% classes[order(-p[i, ], 1:4)[1:top]])))
ece <- function(p, y, bins) { b <- cut(p, (0:bins) / bins, include.lowest = TRUE); s <- tapply(y - p, b, sum); sum(abs(s), na.rm = TRUE) / length(p) }
for (bins in c(5, 10, 15)) {
  out("ece", bins, "base::cut, tapply", "top_label_ece", ece(apply(p, 1, max), as.numeric(called == truth), bins))
  out("ece", bins, "base::cut, tapply", "classwise_ece", mean(sapply(1:4, function(j) ece(p[, j], B[, j], bins))))
}
for (i in 1:4) for (j in 1:4) out("confusion", paste(classes[i], classes[j], sep = "/"), "base::table", "n", table(truth, called)[i, j])
# Ordered grades on the same cases: mel < nv < bcc < bkl, cross-tabulated.
g <- as.integer(truth) - 1; h <- as.integer(called) - 1
for (w in c("Equal-Spacing", "Fleiss-Cohen")) out("ordinal", w, "vcd::Kappa", "value", Kappa(k, weights = w)$Weighted[["value"]])
out("ordinal", "tau-b", "stats::cor", "value", cor(g, h, method = "kendall"))
three <- g < 3; s <- h[three] + p[three, 2] / 8; u <- g[three]; total <- 0; count <- 0
for (a in s[u == 0]) for (b in s[u == 1]) { x <- s[u == 2]; count <- count + length(x)
  total <- total + if (a < b) sum(b < x) + sum(b == x) / 2 else if (a == b) sum(b < x) / 2 + sum(b == x) / 6 else 0 }
out("ordinal", "vus", "three loops", "value", total / count)

l <- read.csv("tests/oracle/data/three_labels.csv"); Y <- as.matrix(l[, 2:4]); S <- as.matrix(l[, 5:7]); C <- (S >= 0.5) * 1
out("labels", "all", "base R", "subset_accuracy", mean(rowSums(C != Y) == 0)); out("labels", "all", "base R", "hamming_loss", mean(C != Y))
for (j in 1:3) out("labels", colnames(Y)[j], "pROC::roc", "auroc", as.numeric(roc(Y[, j], S[, j], direction = "<", quiet = TRUE)$auc))
out("labels", "pooled", "pROC::roc", "auroc", as.numeric(roc(c(Y), c(S), direction = "<", quiet = TRUE)$auc))
out("labels", "pooled", "base R", "f1", 2 * sum(C * Y) / (sum(C) + sum(Y)))
out("labels", "mean", "base R", "f1", mean(sapply(1:3, function(j) 2 * sum(C[, j] * Y[, j]) / (sum(C[, j]) + sum(Y[, j])))))
