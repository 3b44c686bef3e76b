# Reference figures for estimates over several sites.
# Run:  Rscript tests/oracle/generators/generalisation.R > tests/oracle/data/generalisation.csv
# Needs (Debian): r-base-core r-cran-metafor r-cran-proc
suppressPackageStartupMessages({library(metafor); library(pROC)})
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; ", sep = "")
for (p in c("metafor", "pROC")) cat(p, " ", as.character(packageVersion(p)), "; ", sep = "")
cat("\nfamily,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")

model <- function(name, y, v, back) for (tau in c("REML", "DL")) {
  k <- length(y); case <- paste(name, tolower(tau), sep = "/"); source <- "metafor::rma"
  for (test in c("z", "knha", "adhoc")) {
    r <- rma(y, v, method = tau, test = test, control = list(threshold = 1e-13, maxiter = 10000))
    out(paste0("mean-", test), case, source, "value", back(r$b)); out(paste0("mean-", test), case, source, "low", back(r$ci.lb)); out(paste0("mean-", test), case, source, "high", back(r$ci.ub))
    if (test != "z") { h <- qt(.975, k - 2) * sqrt(r$tau2 + r$se^2); out(paste0("prediction-", test), case, "metafor::rma and stats::qt", "low", back(r$b - h)); out(paste0("prediction-", test), case, "metafor::rma and stats::qt", "high", back(r$b + h)) } }
  out("tau", case, source, "value", sqrt(r$tau2)); out("i2", case, source, "value", r$I2 / 100); out("q", case, source, "value", r$QE); out("q", case, source, "p", r$QEp)
  ci <- confint(r, control = list(tol = 1e-14))$random
  out("tau", case, "metafor::confint", "low", ci["tau", 2]); out("tau", case, "metafor::confint", "high", ci["tau", 3]); out("i2", case, "metafor::confint", "low", ci["I^2(%)", 2] / 100); out("i2", case, "metafor::confint", "high", ci["I^2(%)", 3] / 100)
  if (tau == "REML") { l <- leave1out(rma(y, v, method = tau, test = "z", control = list(threshold = 1e-13, maxiter = 10000))); for (i in 1:k) out("leave-one-out", paste(case, i, sep = "/"), "metafor::leave1out", "value", back(l$estimate[i])) }
}

# BCG vaccine against tuberculosis, 13 trials (Colditz et al. 1994), log relative risks: the data set of metafor's manual.
bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
for (i in 1:13) { out("bcg-effect", i, "metafor::escalc", "y", bcg$yi[i]); out("bcg-effect", i, "metafor::escalc", "v", bcg$vi[i]) }
model("bcg", bcg$yi, bcg$vi, exp)

# Sensitivity by site: differing, alike, with a perfect site.
counts <- list(differing = list(x = c(45, 30, 80, 12, 55), n = c(50, 40, 90, 20, 60)), alike = list(x = c(41, 82, 20, 61), n = c(50, 100, 25, 75)), perfect = list(x = c(25, 38, 47, 60, 9, 31), n = c(25, 45, 60, 66, 12, 50)))
for (name in names(counts)) { e <- escalc(measure = "PLO", xi = counts[[name]]$x, ni = counts[[name]]$n, add = 0.5, to = "only0")
  model(name, as.vector(e$yi), as.vector(e$vi), plogis)
  # Second derivation of the variance between sites: the restricted likelihood on a grid refined by optimize().
  ll <- function(t) { w <- 1 / (e$vi + t); m <- sum(w * e$yi) / sum(w); -0.5 * (sum(log(e$vi + t)) + log(sum(w)) + sum(w * (e$yi - m)^2)) }
  out("tau2-likelihood", name, "stats::optimize", "value", optimize(ll, c(0, 3), maximum = TRUE, tol = 1e-12)$maximum) }

# AUROC at four sites, DeLong variances on the logit scale.
site <- rep(1:4, c(30, 24, 40, 26)); i <- seq_along(site); y <- as.integer((i * 7 + site) %% 5 < 2); s <- round(sin(i * 1.7) + (0.6 + 0.35 * site) * y + 0.3 * cos(i * 0.9 * site), 2)
a <- v <- c(); for (j in 1:4) { r <- roc(y[site == j], s[site == j], levels = c(0, 1), direction = "<"); a[j] <- as.numeric(auc(r)); v[j] <- var(r) }
for (j in 1:4) { out("auroc-site", j, "pROC::auc", "value", a[j]); out("auroc-site", j, "pROC::var", "variance", v[j]) }
model("auroc", qlogis(a), v / (a * (1 - a))^2, plogis)
