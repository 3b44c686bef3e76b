# Calibration figures: glm, MASS profile likelihood, sandwich, rms val.prob, loess, lowess; bins and sums by hand.
# Rerun from the root of the checkout: Rscript tests/oracle/generators/calibration.R
suppressMessages({library(sandwich); library(rms); library(MASS)})
d <- read.csv("tests/oracle/data/two_class.csv")
sets <- list(all = seq_len(nrow(d)), first60 = 1:60, last150 = (nrow(d) - 149):nrow(d))
rows <- list()
put <- function(set, name, value) rows[[length(rows) + 1]] <<- list(set, name, as.numeric(value))
tight <- glm.control(epsilon = 1e-14, maxit = 100)
for (k in names(sets)) {
  x <- d[sets[[k]], ]; y <- x$reference; p <- x$probability; lp <- qlogis(p); n <- length(y)
  a <- glm(y ~ 1, offset = lp, family = binomial, control = tight)
  put(k, "intercept", coef(a)); put(k, "intercept_se", sqrt(vcov(a)))
  ci <- suppressMessages(confint(a)); put(k, "intercept_profile_low", ci[1]); put(k, "intercept_profile_high", ci[2])
  put(k, "intercept_cluster_se", sqrt(vcovCL(a, cluster = x$patient, type = "HC0", cadjust = TRUE)))
  b <- glm(y ~ lp, family = binomial, control = tight)
  ci <- suppressMessages(confint(b, "lp")); put(k, "slope_profile_low", ci[1]); put(k, "slope_profile_high", ci[2])
  put(k, "slope", coef(b)[2]); put(k, "slope_se", sqrt(vcov(b)[2, 2]))
  put(k, "slope_intercept", coef(b)[1]); put(k, "slope_intercept_se", sqrt(vcov(b)[1, 1]))
  robust <- vcovCL(b, cluster = x$patient, type = "HC0", cadjust = TRUE)
  put(k, "slope_cluster_se", sqrt(robust[2, 2])); put(k, "slope_intercept_cluster_se", sqrt(robust[1, 1]))
  for (loss in c("brier", "log_loss")) {
    l <- if (loss == "brier") (p - y)^2 else -(y * log(p) + (1 - y) * log(1 - p))
    m <- lm(l ~ 1)
    put(k, loss, coef(m)); put(k, paste0(loss, "_se"), summary(m)$coefficients[2])
    put(k, paste0(loss, "_cluster_se"), sqrt(vcovCL(m, cluster = x$patient, type = "HC0", cadjust = TRUE)))
  }
  put(k, "scaled_brier", 1 - mean((p - y)^2) / (mean(y) * (1 - mean(y))))
  v <- val.prob(p, y, pl = FALSE)
  put(k, "spiegelhalter_z", v["S:z"]); put(k, "spiegelhalter_p", v["S:p"])
  put(k, "val_prob_eavg", v["Eavg"]); put(k, "val_prob_e90", v["E90"]); put(k, "val_prob_emax", v["Emax"])
  put(k, "val_prob_brier", v["Brier"]); put(k, "val_prob_slope", v["Slope"])
  put(k, "observed_expected", sum(y) / sum(p))
  q <- fitted(loess(y ~ p, control = loess.control(surface = "direct")))
  e <- abs(pmin(pmax(q, 0), 1) - p)
  put(k, "loess_ici", mean(e)); put(k, "loess_e50", median(e)); put(k, "loess_e90", quantile(e, 0.9)); put(k, "loess_emax", max(e))
  s <- lowess(p, y, iter = 0)
  put(k, "lowess_first", s$y[1]); put(k, "lowess_mid", s$y[n %/% 2]); put(k, "lowess_last", s$y[n])
  put(k, "lowess_mean", mean(s$y))
  for (bins in c(5, 10, 15)) {
    width <- cut(p, seq(0, 1, length.out = bins + 1), include.lowest = TRUE)
    mass <- cut(p, unique(c(-Inf, quantile(p, (1:(bins - 1)) / bins), Inf)))
    for (scheme in c("width", "mass")) {
      g <- if (scheme == "width") width else mass
      size <- tapply(y, g, length); gap <- abs(tapply(y, g, mean) - tapply(p, g, mean))
      keep <- !is.na(size)
      put(k, sprintf("ece_%s_%d", scheme, bins), sum(size[keep] * gap[keep]) / n)
      put(k, sprintf("mce_%s_%d", scheme, bins), max(gap[keep]))
      o <- tapply(y, g, mean)[keep]; f <- tapply(p, g, mean)[keep]; w <- size[keep]
      put(k, sprintf("reliability_%s_%d", scheme, bins), sum(w * (f - o)^2) / n)
      put(k, sprintf("resolution_%s_%d", scheme, bins), sum(w * (o - mean(y))^2) / n)
      # Debiased squared error per bin (Kumar et al. 2019): (f - o)^2 - o (1 - o) / (size - 1), bins of one left out.
      two <- w > 1
      put(k, sprintf("debiased_l2_%s_%d", scheme, bins),
          sum((w * ((f - o)^2 - ifelse(two, o * (1 - o) / (w - 1), 0)))[two]) / n)
    }
  }
  cuts <- unique(quantile(p, seq(0, 1, 0.1)))
  g <- cut(p, cuts, include.lowest = TRUE)
  observed <- tapply(y, g, sum); expected <- tapply(p, g, sum); size <- tapply(y, g, length)
  h <- sum((observed - expected)^2 / (expected * (1 - expected / size)))
  put(k, "hosmer_lemeshow", h); put(k, "hosmer_lemeshow_p8", pchisq(h, nlevels(g) - 2, lower.tail = FALSE))
  put(k, "hosmer_lemeshow_p10", pchisq(h, nlevels(g), lower.tail = FALSE))
}
out <- "tests/oracle/data/calibration.csv"
versions <- paste(sapply(c("sandwich", "rms", "MASS"), function(m) paste(m, packageVersion(m))), collapse = ", ")
writeLines(c(paste("#", R.version.string, versions, "tests/oracle/generators/calibration.R"), "set,statistic,value",
             sapply(rows, function(r) sprintf("%s,%s,%s", r[[1]], r[[2]], format(r[[3]], digits = 15)))), out)
