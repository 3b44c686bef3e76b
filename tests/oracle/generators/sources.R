# Reference figures for sites on the identity scale and for linearity.
# Run:  Rscript tests/oracle/generators/sources.R > tests/oracle/data/sources.csv
# Needs (Debian): r-base-core r-cran-metafor
suppressPackageStartupMessages(library(metafor))
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; metafor ", as.character(packageVersion("metafor")), "\n", sep = "")
cat("family,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")

# Sensitivity by site as it is (no logit); a perfect site gets half a case on both sides.
counts <- list(differing = list(x = c(45, 30, 80, 12, 55), n = c(50, 40, 90, 20, 60)), perfect = list(x = c(25, 38, 47, 60, 9, 31), n = c(25, 45, 60, 66, 12, 50)))
for (name in names(counts)) {
  e <- escalc(measure = "PR", xi = counts[[name]]$x, ni = counts[[name]]$n, add = 0.5, to = "only0")
  for (i in seq_along(e$yi)) { out("raw-effect", paste(name, i, sep = "/"), "metafor::escalc", "y", e$yi[i]); out("raw-effect", paste(name, i, sep = "/"), "metafor::escalc", "v", e$vi[i]) }
  r <- rma(yi, vi, data = e, method = "REML", test = "adhoc", control = list(threshold = 1e-13, maxiter = 10000))
  out("raw-model", name, "metafor::rma", "mean", r$b); out("raw-model", name, "metafor::rma", "low", r$ci.lb); out("raw-model", name, "metafor::rma", "high", r$ci.ub)
  out("raw-model", name, "metafor::rma", "tau", sqrt(r$tau2)); out("raw-model", name, "metafor::rma", "q", r$QE); out("raw-model", name, "metafor::rma", "p", r$QEp)
}

# Linearity: five levels in duplicate (or triplicate), a straight line, a bend and an S.
x <- rep(c(5, 20, 40, 60, 90), each = 3)
e <- c(.31, -.42, .10, -.55, .24, .37, -.13, .48, -.29, .44, -.37, .05, .22, -.51, .33)
sets <- list(straight = 1.5 + 0.97 * x + e, bent = 1.5 + 1.1 * x - 0.0022 * x^2 + e, curved = 1.5 + 0.7 * x + 0.012 * x^2 - 0.00009 * x^3 + e)
for (name in names(sets)) {
  y <- sets[[name]]
  m <- list(lm(y ~ x), lm(y ~ x + I(x^2)), lm(y ~ x + I(x^2) + I(x^3)))
  for (k in 1:3) { s <- summary(m[[k]]); case <- paste(name, k, sep = "/")
    out("linearity", case, "stats::lm", "sigma", s$sigma)
    for (j in 1:(k + 1)) { out("linearity", case, "stats::lm", paste0("b", j - 1), s$coefficients[j, 1]); out("linearity", case, "stats::lm", paste0("p", j - 1), s$coefficients[j, 4]) } }
  # Deviation of the third-order curve from the line at each level, with its standard error: a linear form of the data.
  X1 <- model.matrix(m[[1]]); X3 <- model.matrix(m[[3]])
  for (k in 2:3) { Xk <- model.matrix(m[[k]])
    H <- Xk %*% solve(qr.R(qr(Xk))) ; Pk <- Xk %*% solve(crossprod(Xk), t(Xk)); P1 <- X1 %*% solve(crossprod(X1), t(X1)); D <- Pk - P1
    d <- as.vector(D %*% y); s <- summary(m[[k]])$sigma; se <- s * sqrt(diag(D %*% t(D)))
    for (i in c(1, 4, 7, 10, 13)) { case <- paste(name, k, x[i], sep = "/"); out("deviation", case, "stats::lm", "value", d[i]); out("deviation", case, "stats::lm", "se", se[i]); out("deviation", case, "stats::qt", "half", qt(.975, m[[k]]$df.residual) * se[i]) } }
}
