# Obuchowski-Rockette components of studies by Roe and Metz' model: Hillis (2018), by mvtnorm's bivariate normal.
# Rerun from the root of the checkout: Rscript tests/oracle/generators/reader_model.R > tests/oracle/data/reader_model.csv
suppressMessages(library(mvtnorm))
cat(sprintf("# %s mvtnorm %s tests/oracle/generators/reader_model.R\n", R.version.string, packageVersion("mvtnorm")))
cat("n0,n1,b,delta1,delta2,var_r,var_tr,var_c,var_tc,var_rc,var_error,reader,treatment_reader,error,cov1,cov2,cov3\n")
both <- function(x, y, rho) {
  if (rho >= 1) return(pnorm(min(x, y)))
  as.numeric(pmvnorm(upper = c(x, y), corr = matrix(c(1, rho, rho, 1), 2), algorithm = TVPACK(abseps = 1e-14)))
}
one <- function(n0, n1, b, d1, d2, r, tr, c, tc, rc, e) {
  total <- 2 * (r + tr) + (1 + 1 / b^2) * (c + tc + rc + e)
  x <- c(d1, d2) / sqrt(total)
  # Two readings share: all, the non-diseased case, the diseased one, or no case; and the reader.
  over_cases <- function(i, j, case, reader) {
    rho <- function(neg, pos) (neg * case + pos * case / b^2 + 2 * reader) / total
    (both(x[i], x[j], rho(1, 1)) + (n1 - 1) * both(x[i], x[j], rho(1, 0)) +
       (n0 - 1) * both(x[i], x[j], rho(0, 1)) + (1 - n0 - n1) * both(x[i], x[j], rho(0, 0))) / (n0 * n1)
  }
  same <- function(case, reader) (over_cases(1, 1, case, reader) + over_cases(2, 2, case, reader)) / 2
  reader <- both(x[1], x[2], 2 * r / total) - prod(pnorm(x))
  own <- mean(sapply(1:2, function(i) both(x[i], x[i], 2 * (r + tr) / total) - pnorm(x[i])^2)) - reader
  found <- c(reader, own, same(c + tc + rc + e, r + tr), over_cases(1, 2, c + rc, r), same(c + tc, 0), over_cases(1, 2, c, 0))
  cat(paste(c(n0, n1, b, d1, d2, r, tr, c, tc, rc, e), collapse = ","), ",", paste(sprintf("%.12g", found), collapse = ","), "\n", sep = "")
}
one(50, 50, 1, 1.5, 1.5, .03, .03, .3, .3, .2, .2)
one(60, 40, 1, 1.8, 1.5, .0055, .0055, .1, .1, .2, .6)
one(69, 45, .65, 2.9, 2.4, .12, .005, .47, .12, .11, .3)
one(20, 200, 1.6, .9, .7, .01, .02, .2, .1, .3, .4)
