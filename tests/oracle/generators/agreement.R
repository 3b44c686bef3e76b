# Reference figures for agreement of measurements and of ordered grades.
# Run:  Rscript tests/oracle/generators/agreement.R > tests/oracle/data/agreement.csv
# Needs (Debian): r-base-core r-cran-epir r-cran-psych r-cran-vcd r-cran-survey
suppressPackageStartupMessages({library(epiR); library(psych); library(vcd); library(survey)})
options(warn = -1, digits = 15)
cat("# ", R.version.string, "; ", sep = "")
for (p in c("epiR", "psych", "vcd", "survey")) cat(p, " ", as.character(packageVersion(p)), "; ", sep = "")
cat("\nfamily,case,source,figure,value\n")
out <- function(family, case, source, figure, value) cat(family, ",", case, ",\"", source, "\",", figure, ",", sprintf("%.15g", value), "\n", sep = "")
tri <- function(family, case, source, v) for (i in 1:3) out(family, case, source, c("value", "low", "high")[i], v[i])

# Peak expiratory flow, 17 subjects, two meters, twice each (Bland & Altman 1986, table 1).
large1 <- c(494,395,516,434,476,557,413,442,650,433,417,656,267,478,178,423,427)
large2 <- c(490,397,512,401,470,611,415,431,638,429,420,633,275,492,165,372,421)
mini1  <- c(512,430,520,428,500,600,364,380,658,445,432,626,260,477,259,350,451)
mini2  <- c(525,415,508,444,500,625,460,390,642,432,420,605,227,467,268,370,443)
sets <- list(pefr = list(x = large1, y = mini1),
  drift = list(x = c(1.2,2.5,3.1,4.8,5.2,6.9,8.1,9.4,10.2,11.7,13.3,14.1), y = c(1.5,2.2,3.9,5.1,5.0,7.8,8.8,9.9,11.9,12.4,14.6,16.0)),
  ties = list(x = c(1,1,2,2,3,3,4,5,5,6), y = c(1,2,2,2,3,5,4,5,6,6)))

for (name in names(sets)) {
  x <- sets[[name]]$x; y <- sets[[name]]$y; d <- y - x; n <- length(d); m <- mean(d); s <- sd(d); z <- qnorm(.975)
  tt <- t.test(y, x, paired = TRUE); tri("bias", name, "stats::t.test", c(m, tt$conf.int))
  tri("sd", name, "chi-square", c(s, s * sqrt((n - 1) / qchisq(c(.975, .025), n - 1))))
  k <- qt(c(.025, .975), n - 1, sqrt(n) * z) / sqrt(n)
  tri("loa-upper", name, "non-central t of stats::qt", c(m + z * s, m + k * s)); tri("loa-lower", name, "non-central t of stats::qt", c(m - z * s, m - rev(k) * s))
  h <- qt(.975, n - 1) * s * sqrt(1 / n + z^2 / (2 * (n - 1))); tri("loa-upper-approx", name, "Bland & Altman 1999", c(m + z * s, m + z * s - h, m + z * s + h))
  f <- lm(d ~ I((x + y) / 2)); tri("proportional", name, "stats::lm", c(coef(f)[2], confint(f)[2, ]))
  g <- lm(abs(resid(f)) ~ I((x + y) / 2)); tri("spread-trend", name, "stats::lm", c(coef(g)[2], confint(g)[2, ]))
  tri("mae", name, "stats::t.test", c(mean(abs(d)), t.test(abs(d))$conf.int))
  out("rmse", name, "by definition", "value", sqrt(mean(d^2)))
  # Smallest k with the wanted share under the fitted normal distribution; standard error by numerical derivatives.
  for (p in c(0.8, 0.9, 0.95)) { K <- function(m, s) uniroot(function(k) pnorm((k - m) / s) - pnorm((-k - m) / s) - p, c(0, abs(m) + 10 * s), tol = 1e-12)$root
    e <- 1e-4 * s; gm <- (K(m + e, s) - K(m - e, s)) / (2 * e); gs <- (K(m, s + e) - K(m, s - e)) / (2 * e)
    out("tdi", paste(name, p, sep = "/"), "normal distribution, numerical", "value", K(m, s)); out("tdi", paste(name, p, sep = "/"), "normal distribution, numerical", "se", sqrt(gm^2 * s^2 / n + gs^2 * s^2 / (2 * (n - 1)))) }
  for (mg in c(5, 20)) { a <- t.test(d, mu = -mg * s / 20, alternative = "greater")$p.value; b <- t.test(d, mu = mg * s / 20, alternative = "less")$p.value
    out("tost", paste(name, mg, sep = "/"), "stats::t.test", "p", max(a, b)) }
  c0 <- epi.ccc(x, y)$rho.c; tri("ccc", name, "epiR::epi.ccc", unlist(c0))
  i <- suppressMessages(ICC(cbind(x, y), lmer = FALSE))$results
  a <- anova(lm(v ~ factor(s) + factor(r), data.frame(v = c(x, y), s = rep(1:n, 2), r = rep(1:2, each = n))))$"Mean Sq"
  out("icc", paste(name, "2-1", sep = "/"), "stats::anova", "value", (a[1] - a[3]) / (a[1] + a[3] + 2 * (a[2] - a[3]) / n)); out("icc", paste(name, "3-1", sep = "/"), "stats::anova", "value", (a[1] - a[3]) / (a[1] + a[3]))
  # Orthogonal regression is the first principal component; other variance ratios after rescaling.
  dem <- function(x, y, r) { v <- prcomp(cbind(x * sqrt(r), y))$rotation[, 1]; b <- v[2] / v[1] * sqrt(r); c(mean(y) - b * mean(x), b) }
  for (r in c(1, 2, 0.25)) { full <- dem(x, y, r); J <- sapply(1:n, function(i) dem(x[-i], y[-i], r)); q <- qt(.975, n - 2)
    for (w in 1:2) { se <- sqrt((n - 1) / n * sum((J[w, ] - mean(J[w, ]))^2)); tri(c("deming-intercept", "deming-slope")[w], paste(name, r, sep = "/"), "stats::prcomp, jackknife", full[w] + c(0, -1, 1) * q * se) } }
  # Passing & Bablok 1983, by two loops.
  S <- c(); for (i in 1:(n - 1)) for (j in (i + 1):n) { dx <- x[i] - x[j]; dy <- y[i] - y[j]; if (dx == 0 && dy == 0) next; v <- if (dx == 0) Inf * sign(dy) else dy / dx; if (v != -1) S <- c(S, v) }
  S <- sort(S); N <- length(S); K <- sum(S < -1); b <- if (N %% 2) S[(N + 1) / 2 + K] else mean(S[N / 2 + K + 0:1])
  C <- z * sqrt(n * (n - 1) * (2 * n + 5) / 18); M1 <- round((N - C) / 2); L <- S[M1 + K]; U <- S[N - M1 + 1 + K]
  tri("pb-slope", name, "two loops", c(b, L, U)); tri("pb-intercept", name, "two loops", c(median(y - b * x), median(y - U * x), median(y - L * x)))
}

# Several pairs per subject: components of variance by anova(), bias by subject means.
subject <- rep(1:17, 2); d <- c(mini1 - large1, mini2 - large2)
a <- anova(lm(d ~ factor(subject)))$"Mean Sq"
out("repeated", "pefr", "stats::anova", "sd", sqrt((a[1] - a[2]) / 2 + a[2])); out("repeated", "pefr", "stats::anova", "bias", mean(tapply(d, subject, mean)))
s <- svydesign(ids = ~subject, data = data.frame(d = d, subject = subject), weights = ~1)
out("repeated", "pefr", "survey::svymean", "mean.se", SE(svymean(~d, s)))

# Repeatability.
for (w in c("large", "mini")) { v <- if (w == "large") c(large1, large2) else c(mini1, mini2)
  e <- anova(lm(v ~ factor(subject))); ms <- e$"Mean Sq"[2]; df <- e$Df[2]; ci <- sqrt(ms * df / qchisq(c(.975, .025), df))
  tri("within-sd", w, "stats::anova", c(sqrt(ms), ci)); tri("repeatability", w, "stats::anova", qnorm(.975) * sqrt(2) * c(sqrt(ms), ci))
  cv2 <- tapply(v, subject, var) / tapply(v, subject, mean)^2; r <- sqrt(mean(cv2)); tri("wcv", w, "by definition", r * c(1, sqrt(df / qchisq(c(.975, .025), df))))
  ml <- anova(lm(log(v) ~ factor(subject)))$"Mean Sq"[2]; tri("wcv-log", w, "stats::anova", sqrt(exp(ml * c(1, df / qchisq(c(.975, .025), df))) - 1)) }

# Shrout & Fleiss 1979, six subjects, four judges; a second set with three raters.
for (name in c("shrout", "three")) {
  m <- if (name == "shrout") matrix(c(9,2,5,8, 6,1,3,2, 8,4,6,8, 7,1,2,6, 10,5,6,9, 6,2,4,7), 6, byrow = TRUE) else matrix(c(9,10,7, 5,6,4, 2,3,3, 8,7,7, 1,1,2, 6,6,5, 4,5,3, 7,9,8), 8, byrow = TRUE)
  i <- suppressWarnings(suppressMessages(ICC(m)))$results; for (w in 2:3) tri("icc-psych", paste(name, paste0(w, "-1"), sep = "/"), "psych::ICC", unlist(i[w, c(2, 7, 8)])) }

# Ordered grades ------------------------------------------------------------------------------------------------------
tables <- list(abstractors = matrix(c(13,0,0, 0,20,7, 0,4,56), 3, byrow = TRUE),
  anxiety = matrix(c(88,14,18, 10,40,10, 2,6,12), 3, byrow = TRUE),
  five = matrix(c(20,5,1,0,0, 4,18,6,2,0, 1,5,22,7,1, 0,2,6,15,4, 0,0,2,5,11), 5, byrow = TRUE))
for (name in names(tables)) { t <- tables[[name]]; n <- sum(t); k <- nrow(t); p0 <- t / n
  numeric.se <- function(f) { g <- matrix(0, k, k); for (i in 1:k) for (j in 1:k) { h <- 1e-6; e <- matrix(0, k, k); e[i, j] <- h; g[i, j] <- (f(p0 + e) - f(p0 - e)) / (2 * h) }; sqrt((sum(p0 * g^2) - sum(p0 * g)^2) / n) }
  for (w in c("linear", "quadratic")) { W <- 1 - (abs(outer(1:k, 1:k, "-")) / (k - 1))^(if (w == "linear") 1 else 2)
    # Values only: the weighted standard error of psych 2.2.9 is that of another weighting (it is 0 for some tables).
    out("weighted-kappa", paste(name, w, sep = "/"), "psych::cohen.kappa", "value", suppressWarnings(cohen.kappa(t, w = W))$weighted.kappa)
    v <- Kappa(t, weights = if (w == "linear") "Equal-Spacing" else "Fleiss-Cohen")$Weighted; out("weighted-kappa", paste(name, w, sep = "/"), "vcd::Kappa", "value.vcd", v[1]); out("weighted-kappa", paste(name, w, sep = "/"), "vcd::Kappa", "se.vcd", v[2])
    kw <- function(p) { p <- p / sum(p); e <- sum(W * outer(rowSums(p), colSums(p))); (sum(W * p) - e) / (1 - e) }
    out("weighted-kappa", paste(name, w, sep = "/"), "numerical delta method", "se", numeric.se(kw)) }
  for (w in c("none", "linear", "quadratic")) { W <- if (w == "none") diag(k) else 1 - (abs(outer(1:k, 1:k, "-")) / (k - 1))^(if (w == "linear") 1 else 2)
    ac <- function(p) { p <- p / sum(p); s <- (rowSums(p) + colSums(p)) / 2; pe <- sum(W) / (k * (k - 1)) * sum(s * (1 - s)); (sum(W * p) - pe) / (1 - pe) }
    out("gwet", paste(name, w, sep = "/"), "by definition", "value", ac(p0)); out("gwet", paste(name, w, sep = "/"), "numerical delta method", "se", numeric.se(ac)) }
  a <- rep(as.vector(row(t)), as.vector(t)); b <- rep(as.vector(col(t)), as.vector(t))
  out("tau-b", name, "stats::cor", "value", cor(a, b, method = "kendall"))
  tau <- function(p) { C <- D <- 0; for (i in 1:k) for (j in 1:k) { C <- C + p[i, j] * sum(p[row(p) > i & col(p) > j]); D <- D + p[i, j] * sum(p[row(p) > i & col(p) < j]) }
    s <- sum(p); (2 * (C - D)) / sqrt((s^2 - sum(rowSums(p)^2)) * (s^2 - sum(colSums(p)^2))) }
  out("tau-b", name, "numerical delta method", "se", numeric.se(tau)) }

# Volume under the surface by three loops, with the variance of the three sets of averages.
score <- c(1,2,2,3,1.5,4, 2,3,3.5,4,2.5,3, 3,5,4,6,4.5,3.5); grade <- rep(0:2, each = 6)
A <- score[grade == 0]; B <- score[grade == 1]; D <- score[grade == 2]; P <- array(0, c(6, 6, 6))
for (i in 1:6) for (j in 1:6) for (l in 1:6) P[i, j, l] <- if (A[i] == B[j] && B[j] == D[l]) 1/6 else if (A[i] < B[j] && B[j] < D[l]) 1 else if ((A[i] == B[j] && B[j] < D[l]) || (A[i] < B[j] && B[j] == D[l])) 0.5 else 0
out("vus", "eighteen", "three loops", "value", mean(P)); out("vus", "eighteen", "three loops", "se", sqrt(sum(sapply(1:3, function(m) var(apply(P, m, mean)) / 6))))
