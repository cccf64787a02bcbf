{{- define "axle-processor.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "axle-processor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "axle-processor.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "axle-processor.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "axle-processor.selector" -}}
app.kubernetes.io/name: {{ include "axle-processor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "axle-processor.labels" -}}
{{ include "axle-processor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: stream-processor
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "axle-processor.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "axle-processor.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "axle-processor.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The topic that a variable names, or what it is called by default. */ -}}
{{- define "axle-processor.inputs" -}}
{{- $default := dict "PLUG_IN" "ev.plug-in.v1" "USER_BOOST" "ev.user-boost.v1" "CONSENT_WITHDRAWN" "ev.consent-withdrawn.v1" -}}
{{- range $input := list "PLUG_IN" "USER_BOOST" "CONSENT_WITHDRAWN" }}
{{ get $.Values.config (printf "TOPICS__%s" $input) | default (get $default $input) }}
{{- end -}}
{{- end -}}
