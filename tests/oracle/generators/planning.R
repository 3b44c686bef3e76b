# Sizes and powers of studies: exact binomial power by R's own quantiles, epiR's and pROC's sample sizes.
# Rerun from the root of the checkout: Rscript tests/oracle/generators/planning.R > tests/oracle/data/planning.csv
suppressMessages({library(epiR); library(pROC)})
cat(sprintf("# %s epiR %s pROC %s tests/oracle/generators/planning.R\n", R.version.string, packageVersion("epiR"), packageVersion("pROC")))
cat("name,n,p,goal,extra,value\n")
put <- function(name, n, p, goal, extra, value)
  cat(sprintf("%s,%s,%s,%s,%s,%.15g\n", name, n, p, goal, extra, value))

# The lower Clopper-Pearson limit exceeds the goal: chance of the counts where it does.
exact <- function(n, p, goal, level) {
  x <- 0:n
  low <- ifelse(x == 0, 0, qbeta((1 - level) / 2, x, n - x + 1))
  sum(dbinom(x, n, p)[low > goal])
}
above <- function(n, p, goal, level) {
  x <- 0:n
  high <- ifelse(x == n, 1, qbeta(1 - (1 - level) / 2, x + 1, n - x))
  sum(dbinom(x, n, p)[high < goal])
}
for (s in list(c(.92, .85), c(.9, .8), c(.95, .9), c(.8, .65), c(.99, .95)))
  for (n in c(40, 150, 430)) put("power_lower", n, s[1], s[2], .95, exact(n, s[1], s[2], .95))
for (s in list(c(.05, .12), c(.1, .2))) for (n in c(60, 250)) put("power_upper", n, s[1], s[2], .95, above(n, s[1], s[2], .95))
# The fewest cases after which no larger study has less power (up to 400 more).
for (s in list(c(.92, .85), c(.9, .8), c(.8, .65))) {
  power <- sapply(1:900, function(n) exact(n, s[1], s[2], .95))
  put("cases_lower", NA, s[1], s[2], .8, max(which(power < .8)) + 1)
}
# Cases for the width of an interval (Buderer 1996): epiR's, for sensitivity, at the wished precision.
for (s in list(c(.9, .05), c(.8, .1), c(.95, .02))) {
  n <- epi.sssimpleestb(N = NA, Py = s[1], epsilon = s[2], error = "absolute", se = 1, sp = 1, nfractional = TRUE, conf.level = .95)
  put("cases_half_width", NA, s[1], s[2], .95, n)
}
# pROC: Obuchowski's variance and the power of one area against a half.
for (s in list(c(.73, 41, 72), c(.8, 50, 50), c(.9, 30, 120))) {
  found <- power.roc.test(auc = s[1], ncases = s[2], ncontrols = s[3], sig.level = .05)
  put("power_area", s[2], s[1], s[3], .05, found$power)
}
