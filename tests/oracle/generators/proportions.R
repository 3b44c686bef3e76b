# Reference figures for proportions, confusion tables, differences and multiplicity.
# Run:  Rscript tests/oracle/generators/proportions.R > tests/oracle/data/proportions.csv
# Needs (Debian): r-base-core r-cran-epir r-cran-survey r-cran-psych r-cran-vcd r-cran-epitools r-cran-mass
suppressPackageStartupMessages({library(epiR); library(survey); library(psych); library(vcd); library(epitools)})
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; ", sep = "")
for (p in c("epiR", "survey", "psych", "vcd", "epitools", "MASS")) cat(p, " ", as.character(packageVersion(p)), "; ", sep = "")
cat("\nfamily,case,source,figure,value\n")
put <- function(family, case, source, figure, value) cat(family, case, paste0("\"", source, "\""), figure, sprintf("%.15g", value), sep = ",", fill = FALSE)
row <- function(...) { put(...); cat("\n") }
limits <- function(family, case, source, ci) { row(family, case, source, "low", ci[1]); row(family, case, source, "high", ci[2]) }

# (Hmisc's Wilson limits differ on purpose at x = 1 and x = n - 1, so prop.test it is.)
# Proportions -------------------------------------------------------------------------------------------------------
for (xn in list(c(0,1), c(1,1), c(0,5), c(5,5), c(27,30), c(29,29), c(3,7), c(40,41), c(177,220), c(999,1000), c(1,100000), c(49990,100000)))
  for (level in c(0.90, 0.95, 0.99)) {
    x <- xn[1]; n <- xn[2]; case <- paste(x, n, level, sep = "/")
    limits("clopper-pearson", case, "stats::binom.test", binom.test(x, n, conf.level = level)$conf.int)
    limits("wilson", case, "stats::prop.test", prop.test(x, n, conf.level = level, correct = FALSE)$conf.int)
  }
for (xn in list(c(3,7), c(27,30), c(177,220), c(1,20), c(0,12)))
  limits("wilson-cc", paste(xn[1], xn[2], 0.95, sep = "/"), "stats::prop.test", prop.test(xn[1], xn[2])$conf.int)
for (a in list(c(13,16,.5), c(81,100,.75), c(5,5,.9), c(0,8,.2), c(27,30,.7), c(550,1000,.5)))
  for (alt in c("greater", "less", "two.sided"))
    row("exact-test", paste(a[1], a[2], a[3], sep = "/"), "stats::binom.test", alt, binom.test(a[1], a[2], a[3], alternative = alt)$p.value)

# Clustered proportions: MASS::bacteria, and three small sets -----------------------------------------------------------
clustered <- function(case, y, id, level = 0.95) {
  d <- svydesign(ids = ~id, data = data.frame(y = y, id = id), weights = ~1)
  m <- svymean(~y, d)
  row("clustered", case, "survey::svymean", "value", coef(m))
  row("clustered", case, "survey::svymean", "se", SE(m))
  n <- length(y); k <- length(unique(id)); p <- as.numeric(coef(m)); v <- as.numeric(SE(m))^2
  # Korn & Graubard on the design effect against p(1-p)/n, floored at 1, with qt() and qbeta() of R itself.
  deff <- max(1, v / (p * (1 - p) / n)); a <- (1 - level) / 2
  neff <- n / deff * (qt(a, n - 1) / qt(a, k - 1))^2
  row("clustered", case, "survey + qbeta", "deff", deff)
  row("clustered", case, "survey + qbeta", "low", qbeta(a, p * neff, neff - p * neff + 1))
  row("clustered", case, "survey + qbeta", "high", qbeta(1 - a, p * neff + 1, neff - p * neff))
}
b <- MASS::bacteria
clustered("bacteria", as.integer(b$y == "y"), as.integer(b$ID))
clustered("pairs", c(1,1, 1,0, 0,0, 1,1, 1,1, 1,0), rep(1:6, each = 2))
clustered("uneven", c(1,1,1,1,1,0, 0,1, 1, 0,0,0, 1,1,1,1, 1,0,1), rep(1:6, c(6,2,1,3,4,3)))

# Confusion tables ----------------------------------------------------------------------------------------------------
tables <- list(c(26,15,14,58), c(90,10,30,170), c(40,2,5,13), c(8,2,1,9), c(700,50,120,2000))   # tp fn fp tn
for (t in tables) {
  case <- paste(t, collapse = "/"); n <- sum(t)
  e <- epi.tests(as.table(matrix(c(t[1], t[3], t[2], t[4]), 2, byrow = TRUE)), digits = 4)$detail
  pick <- function(s) unlist(e[e$statistic == s, c("est", "lower", "upper")])
  for (s in c("se", "sp", "pv.pos", "pv.neg", "diag.ac", "lr.pos", "lr.neg", "youden", "nndx", "diag.or")) {
    v <- pick(s); row("epi.tests", case, "epiR::epi.tests", paste0(s, ".value"), v[1]); row("epi.tests", case, "epiR::epi.tests", paste0(s, ".low"), v[2]); row("epi.tests", case, "epiR::epi.tests", paste0(s, ".high"), v[3]) }
  m <- matrix(c(t[1], t[2], t[3], t[4]), 2, byrow = TRUE)
  k <- cohen.kappa(m)
  row("kappa", case, "psych::cohen.kappa", "value", k$kappa); row("kappa", case, "psych::cohen.kappa", "se", sqrt(k$var.kappa))
  K <- Kappa(m); row("kappa", case, "vcd::Kappa", "value.vcd", K$Unweighted[1]); row("kappa", case, "vcd::Kappa", "se.vcd", K$Unweighted[2])
  # The phi coefficient is Pearson's correlation of the two binary variables.
  r <- rep(c(1,1,0,0), t); q <- rep(c(1,0,1,0), t)
  row("mcc", case, "stats::cor", "value", cor(r, q))
  # Delta method by numerical differentiation of the cell probabilities.
  f <- function(p) (p[1]*p[4] - p[2]*p[3]) / sqrt((p[1]+p[2])*(p[3]+p[4])*(p[1]+p[3])*(p[2]+p[4]))
  p <- t / n; g <- sapply(1:4, function(i) { h <- 1e-6; d <- rep(0, 4); d[i] <- h; (f(p + d) - f(p - d)) / (2 * h) })
  row("mcc", case, "numerical delta method", "se", sqrt((sum(p * g^2) - sum(p * g)^2) / n))
  j <- binom.test(t[1], t[1] + t[2] + t[3])$conf.int
  row("f1", case, "stats::binom.test, transformed", "low", 2 * j[1] / (1 + j[1])); row("f1", case, "stats::binom.test, transformed", "high", 2 * j[2] / (1 + j[2]))
}
# Predictive values at a prevalence: logit by hand from glm-free formulas, for each table and three prevalences.
for (t in tables[1:3]) for (prev in c(0.01, 0.2, 0.6)) {
  se <- t[1] / (t[1] + t[2]); sp <- t[4] / (t[3] + t[4]); case <- paste(c(t, prev), collapse = "/"); z <- qnorm(.975)
  # PPV and NPV are functions of the two logits: delta method on plogis, independent of the formula in the package.
  lp <- function(s, c) qlogis(s * prev / (s * prev + (1 - c) * (1 - prev))); ln <- function(s, c) qlogis(c * (1 - prev) / (c * (1 - prev) + (1 - s) * prev))
  for (k in c("ppv", "npv")) { F <- if (k == "ppv") lp else ln; h <- 1e-6
    v <- ((F(se + h, sp) - F(se - h, sp)) / (2*h))^2 * se * (1 - se) / (t[1] + t[2]) + ((F(se, sp + h) - F(se, sp - h)) / (2*h))^2 * sp * (1 - sp) / (t[3] + t[4])
    row("predictive", case, "numerical delta method on the logit", paste0(k, ".value"), plogis(F(se, sp)))
    row("predictive", case, "numerical delta method on the logit", paste0(k, ".low"), plogis(F(se, sp) - z * sqrt(v)))
    row("predictive", case, "numerical delta method on the logit", paste0(k, ".high"), plogis(F(se, sp) + z * sqrt(v))) }
}

# Differences and ratios ------------------------------------------------------------------------------------------------
groups <- list(c(56,70,48,80), c(7,34,1,34), c(9,10,3,10), c(10,10,0,10), c(0,10,0,20), c(10,10,0,20), c(5,56,0,29), c(150,200,140,210))
score <- function(x1, n1, x2, n2, d, mn = TRUE) {     # restricted maximum likelihood by optimize(), not by the cubic
  ll <- function(p2) dbinom(x1, n1, p2 + d, log = TRUE) + dbinom(x2, n2, p2, log = TRUE)
  p2 <- optimize(ll, c(max(0, -d), min(1, 1 - d)), maximum = TRUE, tol = 1e-13)$maximum; p1 <- p2 + d
  v <- p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2; if (mn) v <- v * (n1 + n2) / (n1 + n2 - 1)
  (x1 / n1 - x2 / n2 - d) / sqrt(v)
}
for (a in groups) {
  case <- paste(a, collapse = "/")
  w <- function(x, n) c(x / n, prop.test(x, n, correct = FALSE)$conf.int); w1 <- w(a[1], a[2]); w2 <- w(a[3], a[4]); d <- w1[1] - w2[1]
  row("newcombe", case, "stats::prop.test, square and add", "low", d - sqrt((w1[1] - w1[2])^2 + (w2[3] - w2[1])^2))
  row("newcombe", case, "stats::prop.test, square and add", "high", d + sqrt((w1[3] - w1[1])^2 + (w2[1] - w2[2])^2))
}
for (a in groups[c(1, 2, 3, 8)]) for (null in c(-0.1, 0, 0.05)) for (mn in c(TRUE, FALSE))
  row("difference-score", paste(c(a, null, mn), collapse = "/"), "restricted likelihood by optimize()", "z", score(a[1], a[2], a[3], a[4], null, mn))
for (a in groups[c(1, 2, 3, 8)]) {
  case <- paste(a, collapse = "/")
  r <- riskratio.wald(matrix(c(a[4] - a[3], a[3], a[2] - a[1], a[1]), 2, byrow = TRUE))$measure[2, ]
  row("katz", case, "epitools::riskratio.wald", "value", r[1]); row("katz", case, "epitools::riskratio.wald", "low", r[2]); row("katz", case, "epitools::riskratio.wald", "high", r[3])
  rs <- function(th) { ll <- function(p2) dbinom(a[1], a[2], th * p2, log = TRUE) + dbinom(a[3], a[4], p2, log = TRUE)
    p2 <- optimize(ll, c(1e-12, min(1, 1 / th)), maximum = TRUE, tol = 1e-13)$maximum; p1 <- th * p2
    (a[1]/a[2] - th * a[3]/a[4]) / sqrt(p1*(1-p1)/a[2] + th^2*p2*(1-p2)/a[4]) }
  t0 <- a[1]/a[2]/(a[3]/a[4])
  row("koopman", case, "restricted likelihood by optimize()", "log.low", uniroot(function(l) rs(exp(l)) - qnorm(.975), log(t0) + c(-6, -1e-4), tol = 1e-12)$root)
  row("koopman", case, "restricted likelihood by optimize()", "log.high", uniroot(function(l) rs(exp(l)) + qnorm(.975), log(t0) + c(1e-4, min(6, log(1e6))), tol = 1e-12)$root)
}

# Paired tables ------------------------------------------------------------------------------------------------------
paired <- list(c(59,6,16,80), c(36,12,2,0), c(1,1,7,12), c(7,25,2,68), c(20,0,0,10), c(10,3,0,5))    # both, first only, second only, neither
for (t in paired) {
  case <- paste(t, collapse = "/"); n <- sum(t); bb <- t[2]; cc <- t[3]
  if (bb + cc > 0) {
    row("mcnemar", case, "stats::binom.test", "exact", binom.test(bb, bb + cc)$p.value)
    row("mcnemar", case, "stats::mcnemar.test", "asymptotic", mcnemar.test(matrix(t, 2, byrow = TRUE), correct = FALSE)$p.value)
    row("mcnemar", case, "stats::mcnemar.test", "asymptotic-cc", mcnemar.test(matrix(t, 2, byrow = TRUE))$p.value)
  }
  # Tango's score with the restricted maximum of the trinomial likelihood found numerically.
  ts <- function(d) { ll <- function(q) dmultinom(c(bb, cc, n - bb - cc), prob = pmax(1e-300, c(q + d, q, 1 - 2 * q - d)), log = TRUE)
    q <- optimize(ll, c(max(0, -d), (1 - d) / 2), maximum = TRUE, tol = 1e-14)$maximum
    (bb - cc - n * d) / sqrt(n * (2 * q + d * (1 - d))) }
  for (d in c(-0.1, 0.07)) row("tango-score", paste(c(t, d), collapse = "/"), "restricted likelihood by optimize()", "z", ts(d))
}

# Marginal homogeneity and multiplicity ------------------------------------------------------------------------------
row("stuart-maxwell", "2x2", "stats::mcnemar.test", "statistic", mcnemar.test(matrix(c(59,6,16,80), 2, byrow = TRUE), correct = FALSE)$statistic)
set.seed(1)
families <- list(c(0.01,0.02,0.03,0.04,0.005), c(0.001,0.3,0.049,0.2,0.011,0.026), c(0.04,0.04,0.04), c(0.5,0.01), c(0.9,0.8,0.001,0.02,0.02,0.7,0.06,0.045))
for (i in seq_along(families)) for (m in c("holm", "hochberg", "hommel", "BH", "BY", "bonferroni")) {
  a <- p.adjust(families[[i]], m); for (j in seq_along(a)) row("p.adjust", paste(i, m, sep = "/"), "stats::p.adjust", j, a[j]) }
