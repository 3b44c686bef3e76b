# Reference figures for sampling weights, declared prevalence and partial verification.
# Run:  Rscript tests/oracle/generators/weighting.R > tests/oracle/data/weighting.csv
# Needs (Debian): r-base-core r-cran-survey
suppressPackageStartupMessages(library(survey))
options(warn = -1, digits = 15, survey.lonely.psu = "fail")
cat("# ", R.version.string, "; survey ", as.character(packageVersion("survey")), ";\n", sep = "")
cat("family,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")
tri <- function(family, case, source, v) for (i in 1:3) out(family, case, source, c("value", "low", "high")[i], v[i])

# 140 cases of 84 patients in 3 sampling strata; the test file makes the same arrays from the same formulas.
i <- 0:139; patient <- floor(i * 0.6); stratum <- (patient * 5) %/% 140
d <- data.frame(i, patient, stratum, w = c(1, 2.5, 6)[stratum + 1] + (patient %% 4) * 0.25, y = as.integer((i * 37 + 11) %% 10 < 4))
d$s <- round(sin(i * 2.1) + 1.1 * d$y + 0.4 * cos(patient), 1); d$call <- as.integer(d$s >= 0.4); d$p <- round(plogis(1.5 * d$s - 0.8), 3)

korn <- function(m, n, df) { p <- as.numeric(coef(m)); v <- as.numeric(SE(m))^2; e <- p * (1 - p) / v; e <- min(e, n) * min(1, qt(.025, n - 1) / qt(.025, df))^2
  c(p, qbeta(.025, p * e, e - p * e + 1), qbeta(.975, p * e + 1, e - p * e)) }
designs <- list(weights = svydesign(~i, weights = ~w, data = d), clusters = svydesign(~patient, weights = ~w, data = d), strata = svydesign(~patient, strata = ~stratum, weights = ~w, data = d))
metrics <- list(sensitivity = list(~call, quote(y == 1)), specificity = list(~I(1 - call), quote(y == 0)), ppv = list(~y, quote(call == 1)), npv = list(~I(1 - y), quote(call == 0)), accuracy = list(~I(as.integer(call == y)), quote(i >= 0)), call_rate = list(~call, quote(i >= 0)), prevalence = list(~y, quote(i >= 0)))
for (name in names(designs)) { for (metric in names(metrics)) { rows <- eval(metrics[[metric]][[2]], d); sub <- d[rows, ]
    # Without sampling strata a metric's patients are those with cases in its denominator; with them all patients of the stratum count.
    g <- if (name == "strata") subset(designs[[name]], rows) else if (name == "clusters") svydesign(~patient, weights = ~w, data = sub) else svydesign(~i, weights = ~w, data = sub)
    m <- svymean(metrics[[metric]][[1]], g); df <- if (name == "strata") degf(designs[[name]]) else degf(g)
    out(metric, name, "survey::svymean", "se", SE(m)[1]); tri(metric, name, "survey::svymean, Korn & Graubard", korn(m, sum(rows), df)) }
  g <- designs[[name]]; m <- svymean(~I((p - y)^2), g); tri("brier", name, "survey::svymean", c(coef(m), confint(m, df = degf(g)))); out("brier", name, "survey::svymean", "se", SE(m)) }
tri("accuracy-beta", "strata", "survey::svyciprop", { a <- svyciprop(~I(call == y), designs$strata, method = "beta"); c(a[1], confint(a)) })

# Weighted AUROC by two loops; its influences summed by survey::svytotal.
P <- which(d$y == 1); N <- which(d$y == 0); psi <- outer(d$s[P], d$s[N], function(a, b) (a > b) + 0.5 * (a == b)); W1 <- sum(d$w[P]); W0 <- sum(d$w[N])
A <- sum(outer(d$w[P], d$w[N]) * psi) / (W1 * W0); a <- b <- numeric(140); for (k in seq_along(P)) a[P[k]] <- (sum(d$w[N] * psi[k, ]) / W0 - A) / W1 * d$w[P[k]]; for (k in seq_along(N)) b[N[k]] <- (sum(d$w[P] * psi[, k]) / W1 - A) / W0 * d$w[N[k]]
wald <- function(v) c(A, plogis(qlogis(A) + c(-1, 1) * qnorm(.975) * sqrt(v) / (A * (1 - A))))
total <- svydesign(~patient, strata = ~stratum, weights = ~1, data = data.frame(d, z = a + b)); tri("auroc", "strata", "two loops, survey::svytotal", wald(as.numeric(SE(svytotal(~z, total)))^2))
for (name in c("weights", "clusters")) { u <- if (name == "weights") d$i else d$patient; sa <- tapply(a, u, sum); sb <- tapply(b, u, sum); i1 <- sum(tapply(d$y, u, max)); i0 <- sum(tapply(1 - d$y, u, max)); m <- length(sa)
  tri("auroc", name, "two loops", wald(i1 / (i1 - 1) * sum(sa^2) + i0 / (i0 - 1) * sum(sb^2) + 2 * m / (m - 1) * sum(sa * sb))) }
# Second derivation: leaving out each patient in turn (delete-one jackknife of the ratio).
J <- sapply(unique(d$patient), function(k) { q <- d[d$patient != k, ]; p1 <- q[q$y == 1, ]; p0 <- q[q$y == 0, ]; sum(outer(p1$w, p0$w) * outer(p1$s, p0$s, function(a, b) (a > b) + 0.5 * (a == b))) / (sum(p1$w) * sum(p0$w)) })
out("auroc-jackknife", "clusters", "leave one patient out", "se", sqrt((length(J) - 1) / length(J) * sum((J - mean(J))^2)))
out("kish", "all", "by definition", "value", sum(d$w)^2 / sum(d$w^2))

# Accuracy and Brier score at a declared prevalence, independent cases.
for (prev in c(0.02, 0.3)) { n1 <- sum(d$y); n0 <- 140 - n1; x1 <- sum(d$call[P]); x0 <- sum(1 - d$call[N]); l <- function(x, n) c(x / n, binom.test(x, n)$conf.int); q <- l(x1, n1); r <- l(x0, n0); v <- prev * q[1] + (1 - prev) * r[1]
  tri("accuracy-at", prev, "stats::binom.test, square-and-add", c(v, v - sqrt((prev * (q[1] - q[2]))^2 + ((1 - prev) * (r[1] - r[2]))^2), v + sqrt((prev * (q[3] - q[1]))^2 + ((1 - prev) * (r[3] - r[1]))^2)))
  e <- (d$p - d$y)^2; q <- c(mean(e[P]), t.test(e[P])$conf.int); r <- c(mean(e[N]), t.test(e[N])$conf.int); q[2] <- max(q[2], 0); r[2] <- max(r[2], 0); v <- prev * q[1] + (1 - prev) * r[1]
  tri("brier-at", prev, "stats::t.test, square-and-add", c(v, v - sqrt((prev * (q[1] - q[2]))^2 + ((1 - prev) * (r[1] - r[2]))^2), v + sqrt((prev * (q[3] - q[1]))^2 + ((1 - prev) * (r[3] - r[1]))^2))) }

# Partial verification. Counts per group: with call + : n, verified, diseased; with call - : n, verified, diseased.
groups <- list(liver = list(c(429, 263, 231, 221, 81, 27)), young_old = list(c(120, 80, 60, 300, 60, 6), c(200, 150, 130, 150, 90, 20)))
for (name in names(groups)) { G <- do.call(rbind, groups[[name]]); n <- sum(G[, c(1, 4)])
  s <- function(G) c(sum(G[, 1] * G[, 3] / G[, 2]), sum(G[, 4] * G[, 6] / G[, 5]), sum(G[, 4] * (1 - G[, 6] / G[, 5])), sum(G[, 1] * (1 - G[, 3] / G[, 2])))
  v <- s(G); out("verification-sensitivity", name, "by definition", "value", v[1] / (v[1] + v[2])); out("verification-specificity", name, "by definition", "value", v[3] / (v[3] + v[4])); out("verification-prevalence", name, "by definition", "value", (v[1] + v[2]) / n)
  # The variance Begg & Greenes give for one group, and for any number of groups the observed information by numerical
  # differentiation of the likelihood: cell probabilities (softmax), then disease given cell (logit).
  if (nrow(G) == 1) { se <- sqrt(n / (G[1] * G[4]) + (G[2] - G[3]) / (G[3] * G[2]) + (G[5] - G[6]) / (G[6] * G[5])); tri("verification-sensitivity", name, "Begg & Greenes 1983", plogis(qlogis(v[1] / (v[1] + v[2])) + c(0, -1, 1) * qnorm(.975) * se))
    se <- sqrt(n / (G[1] * G[4]) + G[6] / ((G[5] - G[6]) * G[5]) + G[3] / ((G[2] - G[3]) * G[2])); tri("verification-specificity", name, "Begg & Greenes 1983", plogis(qlogis(v[3] / (v[3] + v[4])) + c(0, -1, 1) * qnorm(.975) * se)) }
  k <- 2 * nrow(G); size <- c(G[, 1], G[, 4]); ver <- c(G[, 2], G[, 5]); dis <- c(G[, 3], G[, 6])
  ll <- function(t) { pi <- exp(c(t[seq_len(k - 1)], 0)); pi <- pi / sum(pi); q <- plogis(t[k:(2 * k - 1)]); sum(size * log(pi)) + sum(dis * log(q) + (ver - dis) * log(1 - q)) }
  f <- function(t, what) { pi <- exp(c(t[seq_len(k - 1)], 0)); pi <- pi / sum(pi); q <- plogis(t[k:(2 * k - 1)]); pos <- seq_len(nrow(G)); h <- pi * q; o <- pi * (1 - q); qlogis(switch(what, sensitivity = sum(h[pos]) / sum(h), specificity = sum(o[-pos]) / sum(o), prevalence = sum(h))) }
  t0 <- c(log(size[-k] / size[k]), qlogis(dis / ver)); V <- solve(-optimHess(t0, ll, control = list(ndeps = rep(1e-4, 2 * k - 1))))
  for (what in c("sensitivity", "specificity", "prevalence")) { e <- 1e-5; g <- sapply(seq_along(t0), function(j) { u <- t0; u[j] <- u[j] + e; l <- t0; l[j] <- l[j] - e; (f(u, what) - f(l, what)) / (2 * e) })
    out(paste0("verification-", what), name, "observed information", "se.logit", sqrt(drop(t(g) %*% V %*% g))) } }
